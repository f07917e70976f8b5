-- Mounts COUNT layers, whose digests are the numbers from FIRST on, from one repository into
-- another; each thread does its share and stops at its end.

local made = 0

function setup(thread)
  thread:set("number", made)
  made = made + 1
  thread:set("threads", tonumber(os.getenv("THREADS")))
end

function init()
  first, count, turn = tonumber(os.getenv("FIRST")), tonumber(os.getenv("COUNT")), number
end

function request()
  local digest = string.format("sha256:%064x", first + turn)
  if turn >= count then
    wrk.thread:stop()
  end
  turn = turn + threads
  return wrk.format("POST", "/v2/crowded/blobs/uploads/?from=source&mount=" .. digest, {}, "")
end

dofile(os.getenv("FIGURES"))
