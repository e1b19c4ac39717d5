#pragma once

namespace limpid {

// to = value, rounded to T. A function, because a class made in the body of an `omp simd` loop
// keeps the compiler from vectorising it.
template <class T, class A>
void put(T& to, A value) {
  to = T(value);
}

}  // namespace limpid
