-- Checked are the assembled scripts, so a shared part may bring more than one script needs.
std = "lua51"
read_globals = {"redis", "KEYS", "ARGV"}
max_line_length = 130
ignore = {
  "43", -- a shared part names its parameters as it likes
  "211/[A-Z].*", "211/saw", "211/is_dead", "211/finish", "211/forecast", "211/read_grant", "211/ahead_ms", "211/seen_ms", "211/waiting", "211/leaving", "211/cooldown_ms", "211/max_.*", "211/state", "211/now_ms", "221/.*",
}
