-- A webhook's request, again and again. An argument: milliseconds that each connection rests before the next one.
local rest
function init(args)
  rest = tonumber(args[1])
  wrk.method = "POST"
  wrk.body = '{"action":"opened","number":1}'
  wrk.headers["content-type"] = "application/json"
  if rest then
    function delay() return rest end
  end
end
-- The refused ones among the answers, and when 50 and 99 of 100 had come, in milliseconds.
function done(summary, latency)
  local errors = summary.errors
  io.write(('\nRESULT {"requests":%d,"seconds":%.6f,"errors":%d,"p50":%.3f,"p99":%.3f}\n'):format(summary.requests,
    summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
