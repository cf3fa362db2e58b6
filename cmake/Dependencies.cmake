# What workers stands on, all from the distribution.
#
# Lua, SQLite, libuv, libyaml, PCRE2, expat, utf8proc, gumbo and zlib are linked statically, so that one binary is the whole
# installation and starts fast.
# libcurl, libcrypto and libmicrohttpd are compiled against but loaded when first used (src/net/curl_api.c,
# src/base/crypto_api.c, src/net/microhttpd_api.c): loading them costs more than the rest of a short command.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(workers_static_library target archive)
  find_library(${target}_ARCHIVE NAMES ${archive} REQUIRED)
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE ${${target}_ARCHIVE})
endfunction()

pkg_check_modules(LUA REQUIRED lua5.4)
workers_static_library(dep_lua liblua5.4.a)
target_include_directories(dep_lua SYSTEM INTERFACE ${LUA_INCLUDE_DIRS})
target_link_libraries(dep_lua INTERFACE m)

workers_static_library(dep_sqlite libsqlite3.a)
target_link_libraries(dep_sqlite INTERFACE m Threads::Threads ${CMAKE_DL_LIBS})

workers_static_library(dep_uv libuv_a.a)
target_link_libraries(dep_uv INTERFACE Threads::Threads ${CMAKE_DL_LIBS})

workers_static_library(dep_yaml libyaml.a)
workers_static_library(dep_pcre2 libpcre2-8.a)
workers_static_library(dep_expat libexpat.a)
workers_static_library(dep_utf8proc libutf8proc.a)
workers_static_library(dep_gumbo libgumbo.a)
workers_static_library(dep_zlib libz.a)

pkg_check_modules(CURL REQUIRED libcurl)
add_library(dep_curl_headers INTERFACE)
target_include_directories(dep_curl_headers SYSTEM INTERFACE ${CURL_INCLUDE_DIRS})

pkg_check_modules(MICROHTTPD REQUIRED libmicrohttpd)
add_library(dep_microhttpd_headers INTERFACE)
target_include_directories(dep_microhttpd_headers SYSTEM INTERFACE ${MICROHTTPD_INCLUDE_DIRS})

pkg_check_modules(CRYPTO REQUIRED libcrypto)
add_library(dep_crypto_headers INTERFACE)
target_include_directories(dep_crypto_headers SYSTEM INTERFACE ${CRYPTO_INCLUDE_DIRS})
