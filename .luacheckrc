-- Checked are the assembled scripts, so a shared part may bring more than one script needs.
std = "lua51"
read_globals = {"redis", "KEYS", "ARGV"}
max_line_length = 120
ignore = {"211/wan", "211/now_ms", "211/saw", "211/write_grant", "211/wake"}
