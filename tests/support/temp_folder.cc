#include "tests/support/temp_folder.h"

#include <cstdlib>

#include "core/error.h"

namespace limpid {

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "limpid-test-XXXXXX").string();
  require(mkdtemp(name.data()) != nullptr, "cannot make {}{}", name, errno_text());
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace limpid
