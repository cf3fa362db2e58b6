-- Keys for tests, made with openssl(1) for nothing else, and those of RFC 7515 and RFC 8037.

local keys = {}

-- One P-256 key in every form; the passphrase is "horse".
keys.sec1 = [[
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIBJqemB9msTdHeYxqz7cn69kilI4+3KVfou2QnnSSfmJoAoGCCqGSM49
AwEHoUQDQgAEiJrXki4mGUbzhsd3rJ5iEUzL6b3KiLp4xUGTaRVcKE5BxC5g2E1a
B+V02teECC/vb88mZRsSq0EODcjxzEzPdg==
-----END EC PRIVATE KEY-----
]]

keys.pkcs8 = [[
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEmp6YH2axN0d5jGr
Ptyfr2SKUjj7cpV+i7ZCedJJ+YmhRANCAASImteSLiYZRvOGx3esnmIRTMvpvcqI
unjFQZNpFVwoTkHELmDYTVoH5XTa14QIL+9vzyZlGxKrQQ4NyPHMTM92
-----END PRIVATE KEY-----
]]

keys.encryptedPkcs8 = [[
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgTE+fU7/BJDwICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEAMlP4eWyA0034RfBRqjJkIEgZCR
U/VwJRJacI19IdfD+sDSXGpwSsVhWbi0brJjkNgI7CuVT7GUbvRX4t1/34N/wClK
kWP7TG7TRYsn/bnlXjdaQpbMBM9KqOItfGJta8kTQdez+vpsMCeAWJvaiN1ddz1a
cfYWYCcvxERjWdTQBHnI1f82x6UEwWxzO3uXUvWM/zet8vbP1Q3ZXGHxjkgLknA=
-----END ENCRYPTED PRIVATE KEY-----
]]

keys.encryptedSec1 = [[
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,4342FD64F9506457FBBBE4F2228E0948

CA/wPOO6jPDysWXP+iq8FG1LBJyhiUT2vOBS4cKgq/W4lj/tiI3qG8pQFAVhBNOo
LU2x3xPZQ3qIk7nswPqHMWCL93ZtVmkQ5Uad2H+Mo3r3lEIbg17i8QkTfmYmyHc+
u7wWQkN40Bt/CdtXRtd5r0cnwU5V2Cg5b+h5p7u8a90=
-----END EC PRIVATE KEY-----
]]

keys.spki = [[
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiJrXki4mGUbzhsd3rJ5iEUzL6b3K
iLp4xUGTaRVcKE5BxC5g2E1aB+V02teECC/vb88mZRsSq0EODcjxzEzPdg==
-----END PUBLIC KEY-----
]]

keys.certificate = [[
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUQazhRd31yjSBn5KUiijxJeSHZJ0wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjUwODQzNTFaGA8yMTI2MTEwMTA4NDM1
MVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIia
15IuJhlG84bHd6yeYhFMy+m9yoi6eMVBk2kVXChOQcQuYNhNWgfldNrXhAgv72/P
JmUbEqtBDg3I8cxMz3ajUzBRMB0GA1UdDgQWBBRyXqqwm8yqmV2LmPvyxonvDd8s
lTAfBgNVHSMEGDAWgBRyXqqwm8yqmV2LmPvyxonvDd8slTAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCID4L8Q++cHpNP1549DX4h8PL4s64gAnjya9Q
lktTojo4AiEA99t/3gyor0oT3zvzYZm1il4EzJ/DrM6KllzBSYdpJWA=
-----END CERTIFICATE-----
]]

-- What is refused of it: scrypt, 1,000,001 iterations of PBKDF2, PKCS#12 encryption.
keys.scrypt = [[
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAjqjlYBh4+w1AICQAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBBMGUEQMMT2evYsPOfJz1OrBIGQlT1JXBcEbiIc
JUVSse/Ld/jgfaZCc7PAqTDny2MaGlWP14Io47zyZNHE0wT1uvmOPJKXQbZDxt2i
fXyBIHNeCa/xd0ouQJiCpRHWdJueKipA0j4A2h/Gcb5+4S45fOvYp4+DrLVoKILt
430blw+bcjosRxVw1THUxSzU6uo27O9dPQkNENsvv0UXsF3wlGtb
-----END ENCRYPTED PRIVATE KEY-----
]]

keys.slow = [[
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHtMFgGCSqGSIb3DQEFDTBLMCoGCSqGSIb3DQEFDDAdBAiPw4kBJzSgewIDD0JB
MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAEqBBD9xFbVFNXJGyU8P7zn2a19BIGQ
gfVSYSaUPgN5Wnpwe64Ot8MyES99Ho+CTxaFqwouVIIOSc0tRYYx1Mlbg6T/YI0i
Q9CNW3j34joJ8yF3fWycliwbG+YTAPwVU/k0Caa9bBGVg18ldfY1xxoyb3T03+sw
U7iO77QZxe1wYtc1iotUpbJ62yMK+5WqISQXV4tt8ykIdtDQR5OSfvjwvhtXLxVR
-----END ENCRYPTED PRIVATE KEY-----
]]

keys.pkcs12 = [[
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGxMBwGCiqGSIb3DQEMAQMwDgQIxdtedm1U1OoCAggABIGQEYtfJlNXxAe4CW3C
m7etJLVj3r7Mgv2pLtoR4oLU/R9pnilwYXD2FpWb6NtdrYAl3k3JaFGDc7WVa1JO
LvE5bBCfwmphjJWQb9iNo+rcRW8Upmxx/4IGGfoaHLVQco0RLVUwqFUlAXwT1YAr
IOk4Ro+d70nxh3QRwSUPf6Akhhjc2QpZPHUpgef3HGnTqM6h
-----END ENCRYPTED PRIVATE KEY-----
]]

keys.ed25519 = [[
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAbzaezLeSejNZAwFAur8tVdHy4pf53QtefschzvK/oE
-----END PRIVATE KEY-----
]]

keys.ed25519Public = [[
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAr7Qw++YwjxY6LMzNrEJnNRljXba1gpP4vOyj4LnEmco=
-----END PUBLIC KEY-----
]]

keys.x25519 = [[
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEIJAvyCaDCwPbibn5Xq/vGal7+ISbvKKDnZea3kvg3QVF
-----END PRIVATE KEY-----
]]

keys.rsa1024 = [[
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDQxOfzUGPTZWybFylBs3cyjaKT
M2RfKsAdpydGr673BU/FCW0LVmfVlcTkDFBRYekD15JF1OU84k1OqTWBEOKmrvR9
Yy0iG93H9JdM7SdVRYtgMh8B8xWvBIII9L2mz0vBxd8kXTLzc71b9MiccqBEgUsl
2JzFwIErcPQOzf8mlQIDAQAB
-----END PUBLIC KEY-----
]]

keys.p384 = [[
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE5je3bf6Z9aqOIYYi+Tl3nTLu0VmwZ7Sz
FttS9f0lgCnuTl+HN1wrIkUKIo49d2iHmQ0vru3fhou5H2tZonXAu2H/5csHdYod
MBGT+EQ2eXN01bAOYxEtCm5fVYH4dbfo
-----END PUBLIC KEY-----
]]

-- RFC 7515, appendix A.1: the secret, and its token
keys.secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
keys.secretToken = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
  .. ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
  .. ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

-- Appendix A.2
keys.rsaJwk = {
  kty = "RSA",
  n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ"
    .. "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Ca"
    .. "pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h"
    .. "4FRWyuXpoQ",
  e = "AQAB",
  d = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_G"
    .. "O-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjud"
    .. "U2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1Dh"
    .. "OVRuOopznQ",
}
keys.rsaToken = "eyJhbGciOiJSUzI1NiJ9"
  .. ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
  .. ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t"
  .. "1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j"
  .. "zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ"
  .. "Ge77Rw"

-- Appendix A.3
keys.ecJwk = {
  kty = "EC",
  crv = "P-256",
  x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
  d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
keys.ecToken = "eyJhbGciOiJFUzI1NiJ9"
  .. ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
  .. ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

-- RFC 8037, appendix A
keys.okpJwk = {
  kty = "OKP",
  crv = "Ed25519",
  d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
  x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
keys.okpSigned = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
keys.okpSignature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

---A copy of a JWK without its private members.
function keys.public(jwk)
  return { kty = jwk.kty, crv = jwk.crv, n = jwk.n, e = jwk.e, x = jwk.x, y = jwk.y }
end

return keys
