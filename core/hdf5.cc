#include "core/hdf5.h"

#include <hdf5.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace limpid::hdf5 {
namespace {

// A library handle and the function that closes it.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// The library's own account of the last error, innermost cause first; its printing is off.
std::string cause() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned n, const H5E_error2_t* error, void* out) -> herr_t {
        if (n == 0 && error->desc) *static_cast<std::string*>(out) = error->desc;
        return 0;
      },
      &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "" : " (HDF5: " + text + ")";
}

Handle open_handle(hid_t id, herr_t (*close)(hid_t), const std::string& path, const char* what) {
  if (id < 0) fail("{}: cannot {}{}", path, what, cause());
  return Handle(id, close);
}

void check(herr_t status, const std::string& path, const std::string& what) {
  if (status < 0) fail("{}: cannot {}{}", path, what, cause());
}

// Quiet errors, no plug-ins from the environment, no locks (limpid never has two writers on one
// file).
void prepare_library() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
  setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
}

Handle bfloat16_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type, 15, 7, 8, 0, 7);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 127);
  return type;
}

Handle file_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return Handle(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
    case DType::f64:
      return Handle(H5Tcopy(H5T_IEEE_F64LE), H5Tclose);
    case DType::u8:
      return Handle(H5Tcopy(H5T_STD_U8LE), H5Tclose);
    case DType::u16:
      return Handle(H5Tcopy(H5T_STD_U16LE), H5Tclose);
    case DType::i32:
      return Handle(H5Tcopy(H5T_STD_I32LE), H5Tclose);
    case DType::u32:
      return Handle(H5Tcopy(H5T_STD_U32LE), H5Tclose);
    case DType::i64:
      return Handle(H5Tcopy(H5T_STD_I64LE), H5Tclose);
    case DType::u64:
      return Handle(H5Tcopy(H5T_STD_U64LE), H5Tclose);
    case DType::bf16:
      return bfloat16_type();
  }
  fail("no HDF5 type for {}", dtype);
}

DType dtype_of_type(hid_t type, const std::string& path, const std::string& name) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f64, DType::u8, DType::u16, DType::i32,
                      DType::u32, DType::i64, DType::u64})
    if (H5Tequal(type, file_type(dtype)) > 0) return dtype;
  fail("{}: {} has a type that limpid does not store", path, name);
}

Handle space_of(Shape shape) {
  std::array<hsize_t, Shape::kMaxRank> dims;
  for (int i = 0; i < shape.rank(); ++i) dims[size_t(i)] = hsize_t(shape[i]);
  return Handle(H5Screate_simple(shape.rank(), dims.data(), nullptr), H5Sclose);
}

// Creation properties of every dataset: no timestamps, parents made as needed.
Handle dataset_properties() {
  Handle props(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(props, false);
  H5Pset_fill_time(props, H5D_FILL_TIME_NEVER);
  return props;
}

Handle link_properties() {
  Handle props(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(props, 1);
  H5Pset_char_encoding(props, H5T_CSET_UTF8);
  return props;
}

Handle text_type() {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

Handle create_dataset(hid_t file, const std::string& path, const std::string& name, hid_t type,
                      hid_t space, hid_t props) {
  return open_handle(
      H5Dcreate2(file, name.c_str(), type, space, link_properties(), props, H5P_DEFAULT), H5Dclose,
      path, format("create the dataset {}", name).c_str());
}

Handle open_dataset(hid_t file, const std::string& path, const std::string& name) {
  return open_handle(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, path,
                     format("open the dataset {}", name).c_str());
}

void write_attribute(hid_t file, const std::string& path, const std::string& object,
                     const std::string& name, hid_t type, const void* value) {
  const std::string what = format("write the attribute {} of {}", name, object);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute =
      open_handle(H5Acreate_by_name(file, object.c_str(), name.c_str(), type, space, H5P_DEFAULT,
                                    H5P_DEFAULT, H5P_DEFAULT),
                  H5Aclose, path, what.c_str());
  check(H5Awrite(attribute, type, value), path, what);
}

struct Visit {
  std::vector<std::string> datasets;
  bool foreign_link = false;
};

herr_t visit_link(hid_t group, const char* name, const H5L_info_t* link, void* data) {
  Visit& visit = *static_cast<Visit*>(data);
  if (link->type != H5L_TYPE_HARD) {
    visit.foreign_link = true;
    return 0;
  }
  H5O_info_t info;
  if (H5Oget_info_by_name2(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) return -1;
  if (info.type == H5O_TYPE_DATASET) visit.datasets.push_back(name);
  return 0;
}

}  // namespace

Writer::Writer(const Path& path) : path_(path.string()) {
  prepare_library();
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_alignment(access, 1, kPage);  // every tensor starts on a page
  file_ = H5Fcreate(path_.c_str(), H5F_ACC_EXCL, creation, access);
  require(file_ >= 0, "cannot create {}{}", path_, cause());
}

Writer::~Writer() {
  if (file_ >= 0) H5Fclose(file_);
}

// An empty or tiny dataset has an offset only where its storage is allocated early, which HDF5 does
// for any size above 0.
void Writer::reserve(const std::string& name, Shape shape, DType dtype) {
  require(shape.rank() > 0 && shape.numel() > 0, "{}: {} has no elements", path_, name);
  const Handle props = dataset_properties();
  H5Pset_alloc_time(props, H5D_ALLOC_TIME_EARLY);
  const Handle set = create_dataset(file_, path_, name, file_type(dtype), space_of(shape), props);
  const haddr_t offset = H5Dget_offset(set);
  require(offset != HADDR_UNDEF, "{}: {} got no place in the file", path_, name);
  reserved_.push_back({name, shape, dtype, int64_t(offset)});
  if (dtype == DType::bf16) attribute(name, "dtype", "bfloat16");
}

void Writer::table(const std::string& name, const Tensor& values) {
  const Handle props = dataset_properties();
  if (values.numel() > 0) {
    std::array<hsize_t, Shape::kMaxRank> chunk;
    for (int i = 0; i < values.shape.rank(); ++i)
      chunk[size_t(i)] =
          hsize_t(i == 0 ? std::min<int64_t>(values.shape[0], 65536) : values.shape[i]);
    H5Pset_chunk(props, values.shape.rank(), chunk.data());
    H5Pset_shuffle(props);
    H5Pset_deflate(props, 4);
  }
  const Handle type = file_type(values.dtype);
  const Handle set = create_dataset(file_, path_, name, type, space_of(values.shape), props);
  if (values.numel() > 0)
    check(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data), path_, "write " + name);
}

void Writer::text(const std::string& name, const std::string& value) {
  const Handle type = text_type();
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle props = dataset_properties();
  H5Pset_fill_time(props, H5D_FILL_TIME_IFSET);
  const Handle set = create_dataset(file_, path_, name, type, space, props);
  const char* data = value.c_str();
  check(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &data), path_, "write " + name);
}

void Writer::texts(const std::string& name, const std::vector<std::string>& values) {
  const Handle props = dataset_properties();
  H5Pset_fill_time(props, H5D_FILL_TIME_IFSET);
  const Handle type = text_type();
  const Handle set =
      create_dataset(file_, path_, name, type, space_of({int64_t(values.size())}), props);
  std::vector<const char*> data;
  for (const std::string& value : values) data.push_back(value.c_str());
  if (!data.empty())
    check(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data()), path_, "write " + name);
}

void Writer::blob(const std::string& name, const std::string& bytes) {
  table(name, {const_cast<char*>(bytes.data()), {int64_t(bytes.size())}, DType::u8});
}

void Writer::attribute(const std::string& object, const std::string& name,
                       const std::string& value) {
  const char* data = value.c_str();
  write_attribute(file_, path_, object, name, text_type(), &data);
}

void Writer::attribute(const std::string& object, const std::string& name, int64_t value) {
  write_attribute(file_, path_, object, name, H5T_STD_I64LE, &value);
}

void Writer::attribute(const std::string& object, const std::string& name, double value) {
  write_attribute(file_, path_, object, name, H5T_IEEE_F64LE, &value);
}

std::vector<Extent> Writer::close() {
  check(H5Fclose(std::exchange(file_, -1)), path_, "finish the file");
  return std::move(reserved_);
}

Reader::Reader(const Path& path) : path_(path.string()) {
  prepare_library();
  require(file_exists(path), "cannot open {}: no such file", path_);
  file_size_ = int64_t(std::filesystem::file_size(path));
  file_ = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  require(file_ >= 0, "cannot open {} as HDF5{}", path_, cause());
}

Reader::~Reader() {
  if (file_ >= 0) H5Fclose(file_);
}

// Each part of the path is asked for in turn: the library fails on a missing group rather than
// saying no.
bool Reader::has(const std::string& name) const {
  for (size_t at = name.find('/', 1); at != std::string::npos; at = name.find('/', at + 1))
    if (H5Lexists(file_, name.substr(0, at).c_str(), H5P_DEFAULT) <= 0) return false;
  return H5Lexists(file_, name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> Reader::datasets(const std::string& group) const {
  const Handle top = open_handle(H5Gopen2(file_, group.c_str(), H5P_DEFAULT), H5Gclose, path_,
                                 format("open the group {}", group).c_str());
  Visit visit;
  check(H5Lvisit(top, H5_INDEX_NAME, H5_ITER_INC, visit_link, &visit), path_, "list its datasets");
  require(!visit.foreign_link, "{}: holds links to elsewhere, which limpid does not follow", path_);
  const std::string prefix = group.ends_with('/') ? group : group + "/";
  for (std::string& name : visit.datasets) name = prefix + name;
  std::sort(visit.datasets.begin(), visit.datasets.end());
  return visit.datasets;
}

Extent Reader::describe(const std::string& name) const {
  const Handle set = open_dataset(file_, path_, name);
  const Handle space(H5Dget_space(set), H5Sclose);
  const Handle type(H5Dget_type(set), H5Tclose);
  const Handle props(H5Dget_create_plist(set), H5Pclose);
  require(H5Pget_external_count(props) == 0 && H5Pget_layout(props) != H5D_VIRTUAL,
          "{}: the bytes of {} lie in another file, which limpid does not follow", path_, name);
  const int rank = H5Sget_simple_extent_ndims(space);
  require(rank >= 0 && rank <= Shape::kMaxRank, "{}: {} has {} dims", path_, name, rank);
  std::array<hsize_t, Shape::kMaxRank> dims;
  H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  Extent out{name, {}, dtype_of_type(type, path_, name), 0};
  hsize_t total = 1;
  for (int i = 0; i < rank; ++i) {
    const hsize_t dim = dims[size_t(i)];
    require(dim == 0 || total <= (hsize_t(1) << 48) / dim, "{}: {} is impossibly large", path_,
            name);
    total *= dim;
    out.shape.append(int64_t(dim));
  }
  return out;
}

Extent Reader::extent(const std::string& name) const {
  Extent out = describe(name);
  const Handle set = open_dataset(file_, path_, name);
  const haddr_t offset = H5Dget_offset(set);
  require(offset != HADDR_UNDEF, "{}: {} is not stored in one piece", path_, name);
  out.offset = int64_t(offset);
  require(out.offset <= file_size_ && out.bytes() <= file_size_ - out.offset,
          "{}: {} ends beyond the file: it is truncated", path_, name);
  return out;
}

void Reader::read(const std::string& name, const Tensor& into) const {
  const Extent found = describe(name);
  require(found.shape == into.shape && found.dtype == into.dtype, "{}: {} is {} {}, need {} {}",
          path_, name, found.dtype, found.shape, into.dtype, into.shape);
  const Handle set = open_dataset(file_, path_, name);
  check(H5Dread(set, file_type(into.dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT, into.data), path_,
        "read " + name);
}

std::string Reader::text(const std::string& name) const {
  const Handle set = open_dataset(file_, path_, name);
  const Handle type(H5Dget_type(set), H5Tclose);
  const Handle space(H5Dget_space(set), H5Sclose);
  require(H5Tis_variable_str(type) > 0 && H5Sget_simple_extent_npoints(space) == 1,
          "{}: {} is not a text", path_, name);
  char* data = nullptr;
  check(H5Dread(set, text_type(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &data), path_, "read " + name);
  std::string out = data ? data : "";
  H5free_memory(data);
  return out;
}

std::vector<std::string> Reader::texts(const std::string& name) const {
  const Handle set = open_dataset(file_, path_, name);
  const Handle type(H5Dget_type(set), H5Tclose);
  const Handle space(H5Dget_space(set), H5Sclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space);
  // Each text takes 16 bytes of the file at least.
  require(H5Tis_variable_str(type) > 0 && H5Sget_simple_extent_ndims(space) == 1 &&
              count <= file_size_ / 16,
          "{}: {} is not a column of texts", path_, name);
  std::vector<char*> data(size_t(count), nullptr);
  if (count > 0)
    check(H5Dread(set, text_type(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data()), path_,
          "read " + name);
  std::vector<std::string> out;
  for (const char* value : data) out.push_back(value ? value : "");
  if (count > 0) H5Dvlen_reclaim(text_type(), space, H5P_DEFAULT, data.data());
  return out;
}

std::string Reader::blob(const std::string& name) const {
  const std::vector<uint8_t> bytes = column<uint8_t>(name);
  return {bytes.begin(), bytes.end()};
}

std::optional<std::string> Reader::text_attribute(const std::string& object,
                                                  const std::string& name) const {
  if (H5Aexists_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT) <= 0) return {};
  const Handle attribute(
      H5Aopen_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  require(H5Tis_variable_str(type) > 0, "{}: attribute {} of {} is not a text", path_, name,
          object);
  char* data = nullptr;
  check(H5Aread(attribute, text_type(), &data), path_, "read the attribute " + name);
  std::string out = data ? data : "";
  H5free_memory(data);
  return out;
}

std::optional<int64_t> Reader::int_attribute(const std::string& object,
                                             const std::string& name) const {
  if (H5Aexists_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT) <= 0) return {};
  const Handle attribute(
      H5Aopen_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  require(H5Tget_class(type) == H5T_INTEGER, "{}: attribute {} of {} is not a number", path_, name,
          object);
  int64_t out = 0;
  check(H5Aread(attribute, H5T_NATIVE_INT64, &out), path_, "read the attribute " + name);
  return out;
}

}  // namespace limpid::hdf5
