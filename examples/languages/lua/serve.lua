#!/usr/bin/lua5.4
-- Serves calls through /dev/hyperlight: one line of JSON for a call, one for its reply.
local requests = assert(io.open("/dev/hyperlight", "r"))
local replies = assert(io.open("/dev/hyperlight", "w"))
replies:setvbuf("line")

-- JSON, as much as the functions below need: no \u escapes beyond Latin letters, null is nil.

local escapes = { n = "\n", r = "\r", t = "\t", b = "\b", f = "\f" }

local function unescape(text)
  text = text:gsub("\\u00(%x%x)", function(hex) return utf8.char(tonumber(hex, 16)) end)
  return (text:gsub("\\(.)", function(letter) return escapes[letter] or letter end))
end

local parse

local function parse_list(text, at)
  local list = {}
  at = text:match("^%s*()", at)
  while text:sub(at, at) ~= "]" do
    list[#list + 1], at = parse(text, at)
    at = text:match("^%s*,?%s*()", at)
  end
  return list, at + 1
end

local function parse_map(text, at)
  local map = {}
  at = text:match("^%s*()", at)
  while text:sub(at, at) ~= "}" do
    local key
    key, at = parse(text, at)
    map[key], at = parse(text, text:match("^%s*:%s*()", at))
    at = text:match("^%s*,?%s*()", at)
  end
  return map, at + 1
end

local function parse_string(text, at)
  local stop = at
  repeat
    stop = text:find('[\\"]', stop)
    local quote = text:sub(stop, stop) == '"'
    stop = stop + (quote and 1 or 2)
  until quote
  return unescape(text:sub(at, stop - 2)), stop
end

function parse(text, at)
  local first = text:sub(at, at)
  if first == "[" then return parse_list(text, at + 1) end
  if first == "{" then return parse_map(text, at + 1) end
  if first == '"' then return parse_string(text, at + 1) end
  local word, stop = text:match("^([%w.+-]+)()", at)
  if word == "true" or word == "false" then return word == "true", stop end
  return tonumber(word), stop
end

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function format(value)
  if type(value) == "string" then return quote(value) end
  if type(value) ~= "table" then return value == nil and "null" or tostring(value) end
  local items = {}
  for i, item in ipairs(value) do items[i] = format(item) end
  return "[" .. table.concat(items, ",") .. "]"
end

-- Calls a function of the host application.
local function host(name, ...)
  replies:write('{"host":', quote(name), ',"args":', format({ ... }), "}\n")
  local answer = parse(requests:read("l"), 1)
  if answer.error then error(answer.error, 0) end
  return answer.result
end

local calls_served = 0
local functions = {
  add = function(a, b) return a + b end,
  greet = function(name) return "hello, " .. name end,
  shout = function(text) return host("upper", text) end,
  count = function()
    calls_served = calls_served + 1
    return calls_served
  end,
}

replies:write('{"functions":["add","greet","shout","count"]}\n')
for line in requests:lines() do
  local call = parse(line, 1)
  local good, result = pcall(functions[call.call], table.unpack(call.args))
  replies:write(good and '{"result":' or '{"error":', format(good and result or tostring(result)), "}\n")
end
