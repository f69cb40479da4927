-- One key of a limit: decides and counts in one step, by the time of the server. The rules are those of
-- domain/quota.rs (rates) and domain/ladder.rs (rows of failures); the tests hold both sides against each other.
--
-- KEYS  1 the key, 2 the run: a word that is gone when the data is gone
-- ARGV  1 operation, 2 the run as the caller knows it, 3 the generation it knows ('' none),
--       4 '1': what it knows was counted without us, 5 life of the key in ms
--       rates  6 ahead (us), 7 emission (us), 8 tolerance (us)
--       rows   6 failures, 7 age of the last (ms), 8 burst, 9 first delay, 10 longest delay, 11 forget (all ms), 12 ticket,
--              13 places that the caller holds
-- Reply {answer, wait ms, generation, ahead us | failures, age ms, time us}; answer 0 yes, 1 busy, 2 no, 3 another run
local PLACE_MS, MAX_PLACES = 30000, 1000
-- Further ahead than this is only what a clock noted that has gone back since: nobody waits for that time.
local WENT_BACK_MS = 60000
local op, their_gen, untold = ARGV[1], tonumber(ARGV[3]), ARGV[4] == '1'
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return {3, 0, 0, 0, 0, 0} end

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)
local function arg(n) return tonumber(ARGV[n]) end
local function set(name, number) redis.call('HSET', KEYS[1], name, string.format('%.0f', number)) end

local gen, tat, failures, last, pending = nil, 0, 0, 0, 0
local stored = redis.call('HGETALL', KEYS[1])
for at = 1, #stored, 2 do
  local name, value = stored[at], tonumber(stored[at + 1])
  if name == 'g' then gen = value
  elseif name == 't' then tat = value
  elseif name == 'f' then failures = value
  elseif name == 'l' then last = value
  -- A clock that went back must not keep a place longer than its time twice.
  elseif math.abs(now_ms - value) < PLACE_MS then pending = pending + 1
  else redis.call('HDEL', KEYS[1], name) end
end

-- What the caller knows counts where nothing newer is known here: a reset or a success begins a new generation.
local merges = gen == nil or (their_gen ~= nil and their_gen > gen)
  or (untold and (their_gen == nil or their_gen == gen))
gen = math.max(gen or 0, merges and their_gen or 0)

local function keep()
  set('g', gen)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end

if op == 'forget' then
  local known = failures > 0 or tat > now_us
  gen = gen + 1
  redis.call('HDEL', KEYS[1], 't', 'f', 'l')
  keep()
  return {known and 0 or 2, 0, gen, 0, 0, now_us}
end

if op == 'take' or op == 'take_look' then
  local emission, tolerance = arg(7), arg(8)
  local most = now_us + tolerance
  if tat - most > WENT_BACK_MS * 1000 then tat = now_us end
  -- What an instance counted alone, it counted by its share, which may reach further than the whole.
  if merges then tat = math.max(tat, now_us + math.min(arg(6), tolerance)) end
  local next_us = math.max(math.min(tat, most), now_us) + emission
  local over = next_us - now_us - tolerance
  if op == 'take' and over <= 0 then tat = next_us end
  if op == 'take' and (over <= 0 or merges) then
    set('t', tat)
    keep()
  end
  local wait = over > 0 and math.floor((over + 999) / 1000) or 0
  return {over > 0 and 2 or 0, wait, gen, tat - now_us, 0, now_us}
end

local burst, first, longest, forget = arg(8), arg(9), arg(10), arg(11)
if merges and arg(6) > 0 then
  failures, last = math.max(failures, arg(6)), math.max(last, now_ms - arg(7))
end
if now_ms - last > forget then failures = 0 end
-- Places of a caller outlast the data here.
pending = math.max(pending, arg(13))
local place = 'p' .. ARGV[12]

local answer, wait = 0, 0
if op == 'reserve' or op == 'row_look' then
  if failures >= burst then
    local delay = math.min(first * 2 ^ (failures - burst), longest)
    local waited = now_ms - last < -WENT_BACK_MS and delay or math.max(0, now_ms - last)
    wait = math.max(0, delay - waited)
  end
  if wait > 0 then answer = 2
  elseif pending >= math.min(math.max(burst - failures, 1), MAX_PLACES) then answer = 1
  elseif op == 'reserve' then set(place, now_ms) end
else
  redis.call('HDEL', KEYS[1], place)
  if op == 'failed' then
    failures, last = failures + 1, now_ms
  elseif op == 'succeeded' and failures > 0 then
    failures, gen = 0, gen + 1
  end
end
if op ~= 'row_look' then
  if failures == 0 and gen == 0 and (op == 'succeeded' or op == 'abandoned') then
    -- As if nothing had been: an account that never failed leaves no key.
    redis.call('HDEL', KEYS[1], 'g', 'f', 'l')
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
  else
    set('f', failures)
    set('l', last)
    keep()
  end
end
return {answer, wait, gen, failures, math.max(0, now_ms - last), now_us}
