# Writes limpid_commit.h with the commit that is being built; it changes only when that does.
execute_process(COMMAND git -C ${ROOT} describe --always --dirty --abbrev=12
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUT}/limpid_commit.h CONTENT [[
#pragma once

namespace limpid {
inline constexpr const char* kCommit = "@commit@";
}  // namespace limpid
]] @ONLY)
