-- A time for people: ISO 8601, UTC, milliseconds. The calendar is the proleptic Gregorian one, counted from 1 March
-- so that the leap day is the last of its year. `dates` remembers the text of each day.
local function iso(ms, dates)
  local of_day = ms % 86400000
  local days, date = (ms - of_day) / 86400000 + 719468, nil
  if dates then date = dates[days] end
  if not date then
    local floor, day_of_era = math.floor, days % 146097
    local year = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524) - floor(day_of_era / 146096)) / 365)
    local day_of_year = day_of_era - (365 * year + floor(year / 4) - floor(year / 100))
    local month = floor((5 * day_of_year + 2) / 153)
    local day = day_of_year - floor((153 * month + 2) / 5) + 1
    month = month < 10 and month + 3 or month - 9
    year = year + floor(days / 146097) * 400 + (month <= 2 and 1 or 0)
    date = string.format("%04d-%02d-%02dT", year, month, day)
    if dates then dates[days] = date end
  end
  local of_hour, of_minute = of_day % 3600000, of_day % 60000
  return string.format("%s%02d:%02d:%06.3fZ", date, (of_day - of_hour) / 3600000, (of_hour - of_minute) / 60000,
    of_minute / 1000)
end
