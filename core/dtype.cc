#include "core/dtype.h"

#include <array>

namespace limpid {
namespace {

struct Row {
  DType dtype;
  const char* name;
  int64_t size;
};
constexpr std::array<Row, 9> kRows = {{{DType::f32, "f32", 4},
                                       {DType::bf16, "bf16", 2},
                                       {DType::f64, "f64", 8},
                                       {DType::u8, "u8", 1},
                                       {DType::u16, "u16", 2},
                                       {DType::i32, "i32", 4},
                                       {DType::u32, "u32", 4},
                                       {DType::i64, "i64", 8},
                                       {DType::u64, "u64", 8}}};

}  // namespace

int64_t size_of(DType dtype) { return kRows[size_t(dtype)].size; }

std::string to_string(DType dtype) { return kRows[size_t(dtype)].name; }

DType dtype_from(std::string_view name) {
  for (const Row& row : kRows)
    if (name == row.name) return row.dtype;
  fail("'{}' is not a dtype; known: f32, bf16, f64, u8, u16, i32, u32, i64, u64", name);
}

}  // namespace limpid
