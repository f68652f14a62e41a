-- One bucket that several gateways share. A gateway tells what it has spent since it told the last time, and is granted a
-- slice that it may spend on; or it asks for an amount that is given or refused at once. The hash holds what is used by sub-window (0 for a quota), and each gateway's open slice.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local part, max = tonumber(ARGV[1]), tonumber(ARGV[2])
local gateways, me, good, ttl = tonumber(ARGV[3]), 'g:' .. ARGV[4], tonumber(ARGV[5]), ARGV[6]
local spent, mine = tonumber(ARGV[7]), tonumber(ARGV[8])
local wanted, largest, asked = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local key = KEYS[1]
local function text(number) return string.format('%.0f', number) end

local slot = part > 0 and math.floor(now / part) or 0
local used, others, known, numbers, amounts = 0, 0, false, {}, {}
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  if string.sub(field, 1, 2) == 'g:' then
    local out, ends = string.match(value, '^(%d+):(%d+)$')
    if field == me then
      known = true
    elseif out and tonumber(ends) > now then
      others = others + tonumber(out)
    end
  else
    local number, amount = tonumber(field), tonumber(value)
    if part > 0 and number <= slot - 32 then
      redis.call('HDEL', key, field)
    else
      used = used + amount
      numbers[#numbers + 1] = number
      amounts[number] = amount
    end
  end
end

-- A server that has forgotten this gateway has forgotten what it used, too.
local more = known and spent or mine
local free = max - used - others - more
local given = asked > 0 and asked <= free
if given then more = more + asked end
if more > 0 then
  if not amounts[slot] then numbers[#numbers + 1] = slot end
  amounts[slot] = (amounts[slot] or 0) + more
  redis.call('HSET', key, text(slot), text(amounts[slot]))
  used = used + more
end
table.sort(numbers)
for i = #numbers, 1, -1 do
  if more >= 0 then break end
  local number = numbers[i]
  local back = math.min(amounts[number], -more)
  if back > 0 then
    amounts[number] = amounts[number] - back
    redis.call('HSET', key, text(number), text(amounts[number]))
    used, more = used - back, more + back
  end
end

free = max - used - others
local grant = 0
if free > 0 and largest > 0 then
  local most = math.max(math.floor(free / gateways), math.min(largest, free))
  grant = math.min(math.max(wanted, math.floor(free / (2 * gateways))), most)
end
redis.call('HSET', key, me, text(grant) .. ':' .. text(now + good))
redis.call('PEXPIRE', key, ttl)

local back, short = 0, math.max(largest, asked) - free
if short > 0 and part > 0 then
  for _, number in ipairs(numbers) do
    short = short - amounts[number]
    if short <= 0 then
      back = (number + 32) * part - now
      break
    end
  end
end
if asked > 0 then grant = given and 1 or 0 end
return { grant, math.max(max - used, 0), back }
