-- wrk script that sends batches of events, each with a unique ID. Arguments: batch size; mean pause before each request
-- in milliseconds, 0 for no pause; number of this run, which is part of the IDs and the random seed; content type.
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

local types = {
  '"event_type":"page_view","payload":{"page_view_id":"%s","viewport":{"width":1280,"height":720},"page":{"width":1280,"height":5400}}',
  '"event_type":"scroll","payload":{"page_view_id":"%s","scroll":{"scrollPercent":50},"viewport":{"width":1280,"height":720}}',
  '"event_type":"click","target_element":"#rec123 a.t-btn","target_text":"Buy","payload":{"page_view_id":"%s","click":{"x":412,"y":1733,"button":0}}',
  '"event_type":"page_leave","payload":{"page_view_id":"%s","timing":{"timeOnPage":34.2,"engagedTime":21.7},"scroll":{"scrollPercent":75}}',
}
local event = '{"event_id":"%s","created_at":"%s","session_id":"%s","user_id":"%s",'
  .. '"page_url":"https://shop.example/catalogue/%d?utm_source=newsletter&utm_medium=email","page_title":"Catalogue",'
  .. '"referrer":"https://search.example/",%s}'

local batch, wait, sent, run = 10, 0, 0, 0
local session, visitor, view
local headers = {
  ["Origin"] = "https://shop.example",
  ["User-Agent"] = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
}

local function uuid()
  return string.format("%08x-%04x-4%03x-8%03x-%06x%06x", math.random(0, 0x7fffffff), math.random(0, 0xffff),
    math.random(0, 0xfff), number, run, sent % 0x1000000)
end

function init(arguments)
  batch, wait = tonumber(arguments[1]), tonumber(arguments[2])
  run = tonumber(arguments[3])
  headers["Content-Type"] = arguments[4]
  math.randomseed(run * 64 + number)
end

function delay()
  return wait == 0 and 0 or math.floor(wait * (0.5 + math.random()))
end

function request()
  if sent % 5 == 0 then
    session = uuid()
    visitor = string.format("v-%d", math.random(1, 200000))
  end
  local parts = {}
  local second = os.date("!%Y-%m-%dT%H:%M:%S")
  for i = 1, batch do
    sent = sent + 1
    local id = uuid()
    local created_at = string.format("%s.%03dZ", second, math.random(0, 999))
    if sent % 4 == 0 or not view then view = uuid() end -- a page view has four events
    local kind = string.format(types[sent % 4 + 1], view)
    parts[i] = string.format(event, id, created_at, session, visitor, sent % 97, kind)
  end
  local body = string.format('{"sent_at":"%s.999Z","events":[%s]}', second, table.concat(parts, ","))
  return wrk.format("POST", nil, headers, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('RESULT {"seconds":%.3f,"p50_ms":%.2f,"p99_ms":%.2f,"errors":%d}\n',
    summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
