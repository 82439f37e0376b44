-- Of a list of ports like 20000-21999,23000 those after the first `passed_by`, at most `most`; and how many the list has.
local function page_of_ports(list, passed_by, most)
  local ports, passed = {}, 0
  for from, to in string.gmatch(list, "(%d+)-?(%d*)") do
    from, to = tonumber(from), tonumber(to ~= "" and to or from)
    for port = math.max(from, from + passed_by - passed), to do
      if #ports == most then break end
      ports[#ports + 1] = int(port)
    end
    passed = passed + to - from + 1
  end
  return ports, passed
end
