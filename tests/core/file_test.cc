#include "core/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/error.h"
#include "tests/support/fault_disk.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(RealDisk, WritesAndReadsAtAnyPlace) {
  const TempFolder folder;
  const Path path = folder / "a";
  {
    const auto file = real_disk().create(path);
    file->write_at(4, "5678", 4);
    file->write_at(0, "1234", 4);
    file->sync();
    file->drop_cache();
    EXPECT_EQ(file->size(), 8);
    std::string back(3, ' ');
    file->read_at(3, back.data(), 3);
    EXPECT_EQ(back, "456");
    file->truncate(6);
  }
  EXPECT_EQ(read_text(path), "123456");
  {
    const auto file = real_disk().open_append(path);
    file->write_at(file->size(), "x", 1);
  }
  EXPECT_EQ(read_text(path), "123456x");
  real_disk().open_append(folder / "new")->write_at(0, "y", 1);
  EXPECT_EQ(read_text(folder / "new"), "y");
}

TEST(RealDisk, ErrorsNameThePathAndTheCause) {
  const TempFolder folder;
  const Path path = folder / "a", missing = folder / "no" / "b";
  real_disk().create(path);
  EXPECT_THAT([&] { real_disk().create(path); },
              ThrowsMessage<Error>(HasSubstr(path.string() + ": File exists")));
  EXPECT_THAT([&] { real_disk().open(missing); },
              ThrowsMessage<Error>(HasSubstr(missing.string() + ": No such file")));
  EXPECT_THAT([&] { real_disk().rename(missing, path); },
              ThrowsMessage<Error>(HasSubstr(missing.string())));
  EXPECT_THAT([&] { real_disk().make_folders(path / "sub"); },
              ThrowsMessage<Error>(HasSubstr("cannot make the folder")));
  EXPECT_THAT([&] { real_disk().sync_folder(missing); },
              ThrowsMessage<Error>(HasSubstr(missing.string())));
  EXPECT_THAT([&] { real_disk().free_bytes(missing); },
              ThrowsMessage<Error>(HasSubstr("cannot see the free space")));
}

TEST(RealDisk, ReadingBeyondTheEndSaysWhereItEnds) {
  const TempFolder folder;
  const auto file = real_disk().create(folder / "a");
  file->write_at(0, "123", 3);
  std::string back(5, ' ');
  EXPECT_THAT([&] { file->read_at(1, back.data(), 5); },
              ThrowsMessage<Error>(HasSubstr("ends at byte 3, 3 more are needed")));
}

TEST(RealDisk, RefusesToReadAPipeOrAFolderInsteadOfWaiting) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const Path& path : {folder / "pipe", folder.path()}) {
    EXPECT_THAT([&] { real_disk().open(path); },
                ThrowsMessage<Error>(HasSubstr("it is not a file")));
    EXPECT_THROW(read_text(path), Error);
  }
}

TEST(RealDisk, TellsTheFreeSpaceAndRemovesFolders) {
  const TempFolder folder;
  EXPECT_GT(real_disk().free_bytes(folder.path()), 0);
  real_disk().make_folders(folder / "a" / "b");
  real_disk().create(folder / "a" / "b" / "c");
  EXPECT_THAT(list_folder(folder.path()), ElementsAre("a"));
  real_disk().remove_all(folder / "a");
  EXPECT_THAT(list_folder(folder.path()), ElementsAre());
  EXPECT_NO_THROW(real_disk().remove_all(folder / "a"));
  EXPECT_THAT(list_folder(folder / "a"), ElementsAre());
}

TEST(ReadText, RefusesWhatIsLargerThanItsLimit) {
  const TempFolder folder;
  write_atomically(real_disk(), folder / "a", "12345");
  EXPECT_EQ(read_text(folder / "a", 5), "12345");
  EXPECT_THAT([&] { read_text(folder / "a", 4); },
              ThrowsMessage<Error>(HasSubstr("has 5 bytes, more than the 4")));
}

TEST(WriteAtomically, AFaultLeavesTheOldBytesOrTheNew) {
  const TempFolder folder;
  const Path path = folder / "a";
  FaultDisk disk;
  disk.arm(FaultDisk::Kind::kill, FaultDisk::kNever);
  write_atomically(disk, path, "old bytes");
  const int64_t count = disk.changes();
  EXPECT_EQ(count, 6);  // remove, create, write, sync, rename, sync of the folder
  int olds = 0, news = 0;
  for (int64_t at = 0; at < count; ++at) {
    write_atomically(real_disk(), path, "old bytes");
    disk.arm(FaultDisk::Kind::kill, at);
    EXPECT_THROW(write_atomically(disk, path, "new"), Error);
    olds += read_text(path) == "old bytes";
    news += read_text(path) == "new";
  }
  EXPECT_EQ(olds, 5);
  EXPECT_EQ(news, 1);
  write_atomically(real_disk(), path, "new");
  EXPECT_THAT(list_folder(folder.path()), ElementsAre("a"));
}

TEST(MappedFile, ShowsTheBytesAndMoves) {
  const TempFolder folder;
  write_atomically(real_disk(), folder / "a", "123");
  write_atomically(real_disk(), folder / "empty", "");
  MappedFile file(folder / "a");
  EXPECT_EQ(std::string(file.data(), size_t(file.size())), "123");
  MappedFile moved = std::move(file);
  EXPECT_EQ(moved.size(), 3);
  moved = MappedFile(folder / "empty");
  EXPECT_EQ(moved.size(), 0);
  EXPECT_THROW(MappedFile(folder / "none"), Error);
}

}  // namespace
}  // namespace limpid
