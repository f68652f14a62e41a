-- Backends that gateways leave alone after a 429: a sorted set of their names, by when that ends in microseconds of the
-- server's clock. Takes pairs of a name and what is left of its rest; gives names, ends, and what is left.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local longest, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local key = KEYS[1]
local function text(number) return string.format('%.0f', number) end

redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now))
redis.call('ZREMRANGEBYSCORE', key, '(' .. text(now + longest), '+inf')
for i = 3, #ARGV, 2 do
  local ends = now + math.min(tonumber(ARGV[i + 1]), longest)
  -- The same rest, told again, comes out a little later or earlier.
  if ends > tonumber(redis.call('ZSCORE', key, ARGV[i]) or 0) + 100000 then
    redis.call('ZADD', key, text(ends), ARGV[i])
  end
end
-- Of too many those go that end first.
redis.call('ZREMRANGEBYRANK', key, 0, -most - 1)
redis.call('PEXPIRE', key, text(longest / 1000))

local rests, told = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'), {}
for i = 1, #rests, 2 do
  local name, ends = rests[i], tonumber(rests[i + 1])
  if #name == 32 and string.find(name, '^%x+$') then
    told[#told + 1] = { name, ends, ends - now }
  else
    redis.call('ZREM', key, name)
  end
end
return told
