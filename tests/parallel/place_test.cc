#include "parallel/place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace limpid {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// As Slurm 22.05 sets them for rank 5 of `srun -N2 -n8`.
Environment slurm_step() {
  return {{"SLURM_JOB_ID", "731"},
          {"SLURM_STEP_ID", "2"},
          {"SLURM_PROCID", "5"},
          {"SLURM_NTASKS", "8"},
          {"SLURM_STEP_NUM_TASKS", "8"},
          {"SLURM_LOCALID", "1"},
          {"SLURM_NODEID", "1"},
          {"SLURM_STEP_NODELIST", "node[07-08]"},
          {"SLURM_JOB_NODELIST", "node[05-09]"},
          {"SLURM_RESTART_COUNT", "3"}};
}

Environment with(Environment environment, const Environment& more) {
  for (const auto& [name, value] : more) environment[name] = value;
  return environment;
}

Environment without(Environment environment, const std::string& name) {
  environment.erase(name);
  return environment;
}

TEST(Place, IsOneRankWhereNothingIsSet) {
  const Place place = find_place({{"PATH", "/bin"}});
  EXPECT_EQ(place.rank, 0);
  EXPECT_EQ(place.size, 1);
}

TEST(Place, ReadsSlurmsStep) {
  const Place place = find_place(slurm_step());
  EXPECT_EQ(place.rank, 5);
  EXPECT_EQ(place.size, 8);
  EXPECT_EQ(place.local_rank, 1);
  EXPECT_EQ(place.node, 1);
  EXPECT_EQ(place.job, "slurm-731-2-3");
  EXPECT_THAT(place.store, HasSubstr("tcp:node07:"));
  // The port follows from the job, so that all ranks agree and others' jobs rarely do.
  EXPECT_EQ(find_place(with(slurm_step(), {{"SLURM_PROCID", "0"}})).store, place.store);
  EXPECT_NE(find_place(with(slurm_step(), {{"SLURM_STEP_ID", "3"}})).store, place.store);
}

TEST(Place, AStepMayHaveFewerRanksThanItsJob) {
  EXPECT_EQ(find_place(with(slurm_step(), {{"SLURM_NTASKS", "16"}})).size, 8);
}

TEST(Place, TellsWhoForgotSrun) {
  const Environment script = without(slurm_step(), "SLURM_STEP_ID");
  EXPECT_THAT([&] { find_place(script); },
              ThrowsMessage<Error>(AllOf(HasSubstr("SLURM_NTASKS=8"), HasSubstr("srun"))));
  EXPECT_THAT(
      [&] {
        find_place(with(slurm_step(), {{"SLURM_STEP_ID", "batch"}}));
      },
      ThrowsMessage<Error>(HasSubstr("srun")));
  EXPECT_EQ(find_place(with(script, {{"SLURM_NTASKS", "1"}})).size, 1);
  EXPECT_EQ(find_place(without(script, "SLURM_NTASKS")).size, 1);
}

TEST(Place, ReadsOpenMpi) {
  const Environment environment = {{"OMPI_COMM_WORLD_RANK", "2"},
                                   {"OMPI_COMM_WORLD_SIZE", "3"},
                                   {"OMPI_COMM_WORLD_LOCAL_RANK", "2"},
                                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "3"},
                                   {"PMIX_NAMESPACE", "1234.1"}};
  const Place place = find_place(environment);
  EXPECT_EQ(place.rank, 2);
  EXPECT_EQ(place.size, 3);
  EXPECT_EQ(place.job, "mpi-1234_1");
  EXPECT_THAT(place.store, HasSubstr("tcp:127.0.0.1:"));
  // Over several machines only a person can tell where to meet.
  EXPECT_EQ(find_place(with(environment, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}})).store, "");
  // mpirun's own processes have Slurm's variables, of which there is one a machine.
  EXPECT_EQ(find_place(with(slurm_step(), environment)).size, 3);
}

Environment torchrun() {
  return {{"RANK", "1"},
          {"WORLD_SIZE", "4"},
          {"LOCAL_RANK", "1"},
          {"LOCAL_WORLD_SIZE", "2"},
          {"GROUP_RANK", "0"},
          {"MASTER_ADDR", "node07"},
          {"MASTER_PORT", "29500"},
          {"TORCHELASTIC_RUN_ID", "none"},
          {"TORCHELASTIC_RESTART_COUNT", "2"},
          {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
}

TEST(Place, ReadsTorchrunUnderAnyLauncher) {
  const Place place = find_place(with(slurm_step(), torchrun()));
  EXPECT_EQ(place.rank, 1);
  EXPECT_EQ(place.size, 4);
  EXPECT_EQ(place.local_rank, 1);
  EXPECT_EQ(place.job, "torch-none-2");
  EXPECT_EQ(place.store, "tcp:node07:29501");  // torchrun itself has 29500
  EXPECT_EQ(find_place(without(torchrun(), "TORCHELASTIC_USE_AGENT_STORE")).store,
            "tcp:node07:29500");
}

TEST(Place, ReadsLimpidLaunchBeforeAllOthers) {
  const Place place =
      find_place(with(with(slurm_step(), torchrun()), {{"LIMPID_RANK", "3"},
                                                       {"LIMPID_SIZE", "6"},
                                                       {"LIMPID_LOCAL_RANK", "3"},
                                                       {"LIMPID_STORE", "file:/tmp/x"},
                                                       {"LIMPID_JOB", "launch"}}));
  EXPECT_EQ(place.rank, 3);
  EXPECT_EQ(place.size, 6);
  EXPECT_EQ(place.store, "file:/tmp/x");
  EXPECT_EQ(place.job, "launch");
}

TEST(Place, WhatIsSetByHandMustAgreeWithTheLauncher) {
  const Environment agrees = {
      {"RANK", "5"}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "node08"}, {"MASTER_PORT", "1234"}};
  EXPECT_EQ(find_place(with(slurm_step(), agrees)).store, "tcp:node08:1234");
  const Environment left_over = {{"RANK", "0"}, {"WORLD_SIZE", "1"}};
  EXPECT_THAT([&] { find_place(with(slurm_step(), left_over)); },
              ThrowsMessage<Error>(AllOf(HasSubstr("RANK=0"), HasSubstr("WORLD_SIZE=1"),
                                         HasSubstr("SLURM_PROCID"), HasSubstr("rank 5 of 8"))));
  EXPECT_EQ(find_place(agrees).size, 8);
}

TEST(Place, ContradictionsNameTheVariables) {
  const auto error = [](const Environment& environment) -> std::string {
    try {
      find_place(environment);
    } catch (const Error& caught) {
      return caught.what();
    }
    return "no error";
  };
  EXPECT_THAT(error({{"RANK", "0"}}),
              AllOf(HasSubstr("RANK is set"), HasSubstr("WORLD_SIZE is not")));
  EXPECT_THAT(error({{"LIMPID_SIZE", "2"}}), HasSubstr("LIMPID_RANK is not"));
  EXPECT_THAT(error({{"RANK", "4"}, {"WORLD_SIZE", "4"}}),
              HasSubstr("RANK=4 must be less than WORLD_SIZE=4"));
  EXPECT_THAT(error({{"RANK", "x"}, {"WORLD_SIZE", "4"}}), HasSubstr("RANK=x is not a number"));
  EXPECT_THAT(error({{"RANK", "-1"}, {"WORLD_SIZE", "4"}}), HasSubstr("RANK=-1"));
  EXPECT_THAT(error({{"RANK", "99999999999"}, {"WORLD_SIZE", "4"}}), HasSubstr("RANK=99999999999"));
  EXPECT_THAT(error({{"RANK", "1"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "4"}}),
              HasSubstr("LOCAL_RANK=4"));
  EXPECT_THAT(error({{"RANK", "1"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "a"}}),
              HasSubstr("MASTER_PORT is not"));
  EXPECT_THAT(error(with(slurm_step(), {{"SLURM_PROCID", "8"}})), HasSubstr("SLURM_PROCID=8"));
}

TEST(ExpandHosts, FollowsSlurmsGrammar) {
  EXPECT_THAT(expand_hosts("login"), ElementsAre("login"));
  EXPECT_THAT(expand_hosts("n[08-10,12],login,m[1-2]"),
              ElementsAre("n08", "n09", "n10", "n12", "login", "m1", "m2"));
  EXPECT_THAT(expand_hosts("r[1-2]n[01-02]x"), ElementsAre("r1n01x", "r1n02x", "r2n01x", "r2n02x"));
  EXPECT_THAT(expand_hosts("a[9-11]"), ElementsAre("a9", "a10", "a11"));
}

TEST(ExpandHosts, RefusesEverythingElse) {
  for (const char* list : {"", ",", "a,", "a[", "a]", "a[1", "a[]", "a[x]", "a[1-]", "a[2-1]",
                           "a[1,]", "a[0-4294967295]", "a[1-300]b[1-300]", "a[99999999999]"})
    EXPECT_THROW(expand_hosts(list), Error) << list;
}

}  // namespace
}  // namespace limpid
