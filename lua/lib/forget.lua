local function forget(holder, boot_id, pid_namespace)
  redis.call("HDEL", key.holders, holder)
  redis.call("ZREM", neighbours(boot_id, pid_namespace), holder)
end
