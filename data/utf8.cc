#include "data/utf8.h"

#include <simdjson.h>

namespace limpid {

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text); }

}  // namespace limpid
