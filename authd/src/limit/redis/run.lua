-- The word that tells this data from other data: KEYS 1 where it stands, ARGV 1 a new one, 2 its life in ms.
local word = redis.call('GET', KEYS[1]) or ARGV[1]
redis.call('SET', KEYS[1], word, 'PX', ARGV[2])
return word
