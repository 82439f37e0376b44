-- Checked are the assembled scripts.
std = "lua51"
read_globals = {"redis", "cjson", "KEYS", "ARGV"}
max_line_length = 130
ignore = {"43"} -- a part names its parameters as it likes
