-- Tells InfoVAE-Med3D of each study that has become stable, so that it is fetched at once.
--
-- Needs Lua 5.3 or later (Orthanc has it). The call is signed (HMAC-SHA256 of the body, RFC 2104) and cannot be played
-- again (timestamp and nonce). One that is lost is no harm: the service also reads Orthanc's log of changes.
--
-- In Orthanc's configuration (`med3d pacs orthanc-config` makes both):
--   "LuaScripts": ["/etc/orthanc/med3d.lua"],
--   "Med3d": {"Url": "http://127.0.0.1:8000/hooks/orthanc", "Peer": "ward", "Secret": "${MED3D_HOOK_SECRET}"}

-- SHA-256 (FIPS 180-4). Orthanc's Lua has no digest of its own.
local ROUND = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}
local START = {
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

local function rotated(word, bits)
  return ((word >> bits) | (word << (32 - bits))) & 0xffffffff
end

local function mixed(state, block)
  local w = {string.unpack('>I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4', block)}
  for t = 17, 64 do
    local x, y = w[t - 15], w[t - 2]
    local s0 = rotated(x, 7) ~ rotated(x, 18) ~ (x >> 3)
    local s1 = rotated(y, 17) ~ rotated(y, 19) ~ (y >> 10)
    w[t] = (w[t - 16] + s0 + w[t - 7] + s1) & 0xffffffff
  end
  local a, b, c, d, e, f, g, h = table.unpack(state)
  for t = 1, 64 do
    local s1 = rotated(e, 6) ~ rotated(e, 11) ~ rotated(e, 25)
    local t1 = h + s1 + ((e & f) ~ (~e & g)) + ROUND[t] + w[t]
    local s0 = rotated(a, 2) ~ rotated(a, 13) ~ rotated(a, 22)
    local t2 = s0 + ((a & b) ~ (a & c) ~ (b & c))
    h, g, f, e, d, c, b, a = g, f, e, (d + t1) & 0xffffffff, c, b, a, (t1 + t2) & 0xffffffff
  end
  local after = {a, b, c, d, e, f, g, h}
  for i = 1, 8 do after[i] = (after[i] + state[i]) & 0xffffffff end
  return after
end

local function sha256(text)
  local padding = string.rep('\0', (55 - #text) % 64)
  local padded = text .. '\128' .. padding .. string.pack('>I8', #text * 8)
  local state = START
  for at = 1, #padded, 64 do state = mixed(state, padded:sub(at, at + 63)) end
  return string.pack('>I4I4I4I4I4I4I4I4', table.unpack(state))
end

local function hmac(secret, text)
  if #secret > 64 then secret = sha256(secret) end
  secret = secret .. string.rep('\0', 64 - #secret)
  local inner = secret:gsub('.', function(c) return string.char(c:byte() ~ 0x36) end)
  local outer = secret:gsub('.', function(c) return string.char(c:byte() ~ 0x5c) end)
  local digest = sha256(outer .. sha256(inner .. text))
  return (digest:gsub('.', function(c) return string.format('%02x', c:byte()) end))
end

function OnStableStudy(studyId, tags, metadata)
  local settings = GetOrthancConfiguration()['Med3d']
  -- A tag is what a sender wrote: only what a UID may hold goes on.
  local study = (tags['StudyInstanceUID'] or ''):match('^[0-9.]+$')
  local updated = (metadata['LastUpdate'] or ''):match('^[0-9T]+$')
  if not settings or not study or not updated then
    print('med3d: not told of a stable study (no settings, or a study without a UID)')
    return
  end
  local nonce = RestApiGet('/tools/generate-uid?level=instance'):match('[0-9.]+')
  local body = string.format('{"study_uid":"%s","last_update":"%s","timestamp":%d,"nonce":"%s"}',
    study, updated, os.time(), nonce)
  HttpPost(settings['Url'], body, {
    ['Content-Type'] = 'application/json',
    ['X-Med3d-Peer'] = settings['Peer'],
    ['X-Med3d-Signature'] = hmac(settings['Secret'], body),
  })
end
