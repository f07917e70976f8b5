-- Mounts one blob into a new repository with each request.
--
-- PREFIX names the repositories, DIGEST the blob, AUTHORIZATION the header for all of them; or
-- TOKENS is a file with a repository and its token on each line, of which each thread takes its
-- own share and stops at its end; where AGAIN is set each has all of them and begins anew. TARGET
-- is the one repository of all requests.

local made = 0

function setup(thread)
  thread:set("number", made)
  made = made + 1
  thread:set("threads", tonumber(os.getenv("THREADS")))
end

function init()
  turn = 0
  from = "?from=source&mount=" .. os.getenv("DIGEST")
  prefix = os.getenv("PREFIX") .. "/" .. number .. "/"
  authorization, target = os.getenv("AUTHORIZATION"), os.getenv("TARGET")
  again = os.getenv("AGAIN")
  shares = {}
  local path = os.getenv("TOKENS")
  if path then
    local count = 0
    for line in io.lines(path) do
      if again or count % threads == number then
        shares[#shares + 1] = line
      end
      count = count + 1
    end
  end
end

function request()
  turn = turn + 1
  local repository, headers = target or prefix .. turn, {}
  if #shares > 0 then
    local line = shares[again and turn % #shares + 1 or turn]
    if not line then
      wrk.thread:stop()
      line = shares[#shares]
    end
    local space = line:find(" ")
    repository = line:sub(1, space - 1)
    headers["Authorization"] = "Bearer " .. line:sub(space + 1)
  elseif authorization then
    headers["Authorization"] = authorization
  end
  return wrk.format("POST", "/v2/" .. repository .. "/blobs/uploads/" .. from, headers, "")
end

dofile(os.getenv("FIGURES"))
