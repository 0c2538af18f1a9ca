// SPDX-License-Identifier: BSD-3-Clause
// What several processes compute together. With CYBORG_WITH_DISTRIBUTED, a case
// starts this program again, once for each rank. Each of these processes runs
// the hidden case "rank", which calls the function of one role and writes its
// tensors to a file.
#include "catch.hpp"
// torch first: see catch.hpp.

#include <cyborg/cam/hook.hpp>
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/saliency_guided.hpp>
#include <cyborg/train/distributed.hpp>
#include <cyborg/train/sync_batch_norm.hpp>

#include "link/without_c10d.hpp"
#include "networks.hpp"
#include "skip.hpp"
#include "support.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
namespace nn = torch::nn;
using cyborg::train::DataParallel;
using cyborg::train::DataParallelOptions;
using cyborg::train::Group;
using cyborg::train::GroupOptions;
using cyborg::train::SyncBatchNorm2d;
using cyborg::train::World;
using support::close;
using support::contains;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

/// Sets these variables of the launcher, and no others, while it lives.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& values) {
    for (const char* name : kNames) {
      const char* before = std::getenv(name);
      before_.emplace_back(before != nullptr, before ? before : "");
      unsetenv(name);
    }
    for (const auto& [name, value] : values) {
      setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ~Environment() {
    for (size_t i = 0; i < before_.size(); ++i) {
      before_[i].first ? setenv(kNames[i], before_[i].second.c_str(), 1)
                       : unsetenv(kNames[i]);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  static constexpr std::array<const char*, 7> kNames{
      "RANK",
      "WORLD_SIZE",
      "LOCAL_RANK",
      "MASTER_ADDR",
      "MASTER_PORT",
      "TORCHELASTIC_USE_AGENT_STORE",
      "TORCHELASTIC_RESTART_COUNT"};
  std::vector<std::pair<bool, std::string>> before_;
};

std::string world_error(const std::map<std::string, std::string>& values) {
  const Environment environment(values);
  return error_of([] { World::from_environment(); });
}

}  // namespace

TEST_CASE("A world is read from the environment", "[distributed]") {
  {
    const Environment none({});
    const World world = World::from_environment();
    CHECK(world.rank == 0);
    CHECK(world.size == 1);
    CHECK(world.local_rank == 0);
  }
  {
    const Environment environment(
        {{"RANK", "5"},
         {"WORLD_SIZE", "8"},
         {"LOCAL_RANK", "1"},
         {"MASTER_ADDR", "node-a"},
         {"MASTER_PORT", "1234"}});
    const World world = World::from_environment();
    CHECK(world.rank == 5);
    CHECK(world.size == 8);
    CHECK(world.local_rank == 1);
    CHECK(world.address == "node-a");
    CHECK(world.port == 1234);
    CHECK_FALSE(world.launcher_listens);
  }
  {
    const Environment environment(
        {{"RANK", "1"},
         {"WORLD_SIZE", "2"},
         {"MASTER_ADDR", "::1"},
         {"MASTER_PORT", "65535"},
         {"TORCHELASTIC_USE_AGENT_STORE", "True"},
         {"TORCHELASTIC_RESTART_COUNT", "3"}});
    const World world = World::from_environment();
    CHECK(world.local_rank == 1);
    CHECK(world.launcher_listens);
    CHECK(world.attempt == 3);
  }
}

TEST_CASE("An environment that describes no world throws", "[distributed]") {
  CHECK(
      world_error({{"RANK", "0"}}) ==
      "cyborg::train::World: expected RANK and WORLD_SIZE, got only RANK");
  CHECK(
      world_error({{"WORLD_SIZE", "2"}}) ==
      "cyborg::train::World: expected RANK and WORLD_SIZE, got only "
      "WORLD_SIZE");
  CHECK(
      world_error({{"RANK", "2"}, {"WORLD_SIZE", "2"}}) ==
      "cyborg::train::World: expected RANK from 0 to 1, got \"2\"");
  CHECK(
      world_error({{"RANK", "-1"}, {"WORLD_SIZE", "2"}}) ==
      "cyborg::train::World: expected RANK from 0 to 1, got \"-1\"");
  CHECK(
      world_error({{"RANK", "0"}, {"WORLD_SIZE", "two"}}) ==
      "cyborg::train::World: expected WORLD_SIZE from 1 to 2147483647, got "
      "\"two\"");
  CHECK(
      world_error({{"RANK", "0"}, {"WORLD_SIZE", "2"}}) ==
      "cyborg::train::World: expected MASTER_ADDR with WORLD_SIZE 2, got none");
  for (const char* port : {"http", "0", "65536", "80 ", ""}) {
    CHECK(
        world_error(
            {{"RANK", "0"},
             {"WORLD_SIZE", "2"},
             {"MASTER_ADDR", "a"},
             {"MASTER_PORT", port}}) ==
        "cyborg::train::World: expected MASTER_PORT from 1 to 65535, got \"" +
            std::string(port) + "\"");
  }
}

TEST_CASE("A group of one process changes no tensor", "[distributed]") {
  const Group group;
  const Tensor x = t({1, 2, 3});
  group.broadcast({x});
  group.all_reduce(x);
  group.barrier();
  CHECK(close(x, t({1, 2, 3}), 0));
  CHECK(close(group.all_gather(x), x, 0));
  nn::Linear net(3, 1);
  DataParallel parallel(*net, group);
  CHECK(parallel.buckets() == 0);
  for (int i = 0; i < 2; ++i) {
    net(torch::ones({2, 3})).sum().backward();
    parallel.finish();
  }
  CHECK(close(net->bias.grad(), t({4}), 0));  // two backwards, added
}

TEST_CASE("Invalid ranks, options and shapes throw", "[distributed]") {
  World world;
  world.rank = 3;
  world.size = 3;
  CHECK(
      error_of([&] { Group group(world); }) ==
      "cyborg::train::Group: expected a rank from 0 to size - 1, got rank 3 of "
      "3");
  CHECK(error_of([&] {
          Group group(World{}, GroupOptions().timeout(std::chrono::seconds(0)));
        }) == "cyborg::train::Group: expected timeout > 0, got 0 ms");
  CHECK(
      error_of([&] { Group().all_gather(torch::ones({})); }) ==
      "cyborg::train::Group: expected rows [N, *S], got a tensor without "
      "dimensions");
  nn::Linear net(3, 1);
  CHECK(error_of([&] {
          DataParallel(*net, Group(), DataParallelOptions().bucket_bytes(0));
        }) == "cyborg::train::DataParallel: expected bucket_bytes > 0, got 0");
}

TEST_CASE(
    "In one process the whole batch's loss is this batch's loss",
    "[distributed]") {
  torch::manual_seed(4);
  const cyborg::CyborgL2Loss criterion(
      cyborg::SaliencyGuidedLossOptions().alpha(0.3));
  const Tensor cam = torch::rand({3, 4, 4}, torch::kDouble).requires_grad_();
  const Tensor task = t({2}).requires_grad_();
  const auto terms = criterion.combine(
      task, cam, torch::rand({3, 4, 4}), torch::tensor({true, false, true}));
  const Tensor total = whole_batch_total(criterion, terms, 3, Group());
  CHECK(close(total, terms.total));
  const auto expected =
      torch::autograd::grad({terms.total}, {task, cam}, {}, true);
  const auto found = torch::autograd::grad({total}, {task, cam});
  CHECK(close(found[0], expected[0]));
  CHECK(close(found[1], expected[1]));
  CHECK(
      error_of([&] {
        const cyborg::CyborgL2Loss sums(
            cyborg::SaliencyGuidedLossOptions().reduction(torch::kSum));
        whole_batch_total(sums, terms, 3, Group());
      }) ==
      "cyborg::train::whole_batch_total: expected a loss of reduction kMean, "
      "got kSum");
}

TEST_CASE(
    "In one process the loss of a batch with terms is the total",
    "[distributed]") {
  torch::manual_seed(4);
  cyborg::Guidance guidance;
  guidance.add("people", 0.4, cyborg::L2());
  guidance.add("more", 3, cyborg::L1(), cyborg::Blend::kAdditive);
  const Tensor cam = torch::rand({3, 4, 4}, torch::kDouble).requires_grad_();
  const Tensor logits = torch::rand({3, 2}, torch::kDouble).requires_grad_();
  cyborg::Batch given{{}, labels({0, 1, 1}), torch::rand({3, 4, 4})};
  given.annotated = torch::tensor({true, false, true});
  const auto terms = guidance(logits, cam, given);
  const Tensor total = whole_batch_total(terms, 3, Group());
  CHECK(close(total, terms.total));
  CHECK(close(
      torch::autograd::grad({total}, {cam}, {}, true)[0],
      torch::autograd::grad({terms.total}, {cam}, {}, true)[0]));
}

#ifndef CYBORG_WITH_DISTRIBUTED

TEST_CASE("A program without c10d explains its error", "[distributed]") {
  const Environment environment(
      {{"RANK", "0"},
       {"WORLD_SIZE", "2"},
       {"MASTER_ADDR", "127.0.0.1"},
       {"MASTER_PORT", "29500"}});
  const std::string expected =
      "cyborg::train::Group: WORLD_SIZE is 2, and this program was built for "
      "one process. For several processes, install Gloo's headers (Debian's "
      "libgloo-dev), link the CMake target cyborg::distributed and include "
      "<cyborg/train/distributed.hpp>. Otherwise, start one process";
  CHECK(error_of([] { Group::from_environment(); }) == expected);
  CHECK(error_of([] { without_c10d::group_from_environment(); }) == expected);
}

#else

namespace {

// ------------------------------------------------------- starting the ranks

std::string free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(bind(socket, any, size) == 0);
  REQUIRE(getsockname(socket, any, &size) == 0);
  ::close(socket);
  return std::to_string(ntohs(address.sin_port));
}

/// Runs a role on every rank, and keeps the tensors that each one wrote.
class Ranks {
 public:
  explicit Ranks(const std::string& role, int count = 2)
      : folder_(
            fs::temp_directory_path() /
            ("cyborg-ranks-" + std::to_string(getpid()))) {
    fs::remove_all(folder_);
    fs::create_directory(folder_);
    const std::string port = free_port();
    std::vector<pid_t> children;
    for (int rank = 0; rank < count; ++rank) {
      const Environment environment(
          {{"RANK", std::to_string(rank)},
           {"WORLD_SIZE", std::to_string(count)},
           {"MASTER_ADDR", "127.0.0.1"},
           {"MASTER_PORT", port}});
      setenv("CYBORG_TEST_ROLE", role.c_str(), 1);
      setenv("CYBORG_TEST_FOLDER", folder_.c_str(), 1);
      const pid_t child = fork();
      if (child == 0) {
        execl("/proc/self/exe", "rank", "rank", nullptr);
        _exit(127);
      }
      unsetenv("CYBORG_TEST_ROLE");
      children.push_back(child);
    }
    for (const pid_t child : children) {
      int status = 0;
      REQUIRE(waitpid(child, &status, 0) == child);
      statuses.push_back(
          WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    }
  }
  ~Ranks() { fs::remove_all(folder_); }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  std::vector<Tensor> tensors(int rank) const {
    std::vector<Tensor> read;
    torch::load(read, (folder_ / std::to_string(rank)).string());
    return read;
  }

  std::vector<int> statuses;

 private:
  fs::path folder_;
};

const std::vector<int> kBothSucceed{0, 0};

// ------------------------------------------------- what the ranks compute

/// Two convolutions and a head, in float64, with a hook for its maps.
std::shared_ptr<networks::Headed> network(uint64_t seed) {
  torch::manual_seed(seed);
  auto net = networks::headed([](networks::Headed& n, Tensor x) {
    return n.fc2(n.see(torch::relu(n.b(x))).mean({2, 3}));
  });
  net->to(torch::kDouble);
  return net;
}

struct Batch {
  Tensor images, labels, maps, annotated;
  Batch part(int64_t first, int64_t count) const {
    return {
        images.narrow(0, first, count), labels.narrow(0, first, count),
        maps.narrow(0, first, count), annotated.narrow(0, first, count)};
  }
};

Batch batch(uint64_t step) {
  torch::manual_seed(100 + step);
  return {
      torch::randn({8, 3, 6, 6}, torch::kDouble),
      torch::randint(0, 2, {8}, torch::kLong),
      torch::rand({8, 6, 6}, torch::kDouble),
      torch::tensor({true, true, false, true, false, false, false, true})};
}

std::vector<Tensor> values(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> copies;
  for (const Tensor& tensor : tensors) {
    copies.push_back(tensor.detach().clone());
  }
  return copies;
}

/// The parameters after five steps with the task's loss alone.
std::vector<Tensor> train_plain(
    const Group& group, int64_t bucket_bytes, int64_t backwards = 1) {
  const auto net = network(static_cast<uint64_t>(7 + group.rank()));
  DataParallel parallel(
      *net, group, DataParallelOptions().bucket_bytes(bucket_bytes));
  torch::optim::SGD optimizer(
      net->parameters(),
      torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(0.01));
  const int64_t share = 8 / group.size() / backwards;
  for (uint64_t step = 0; step < 5; ++step) {
    optimizer.zero_grad();
    for (int64_t i = 0; i < backwards; ++i) {
      const Batch part =
          batch(step).part((group.rank() * backwards + i) * share, share);
      const auto backward = [&] {
        const Tensor loss = nn::functional::cross_entropy(
            net->forward(part.images), part.labels);
        (loss / backwards).backward();
      };
      if (i + 1 < backwards) {
        const auto guard = parallel.no_sync();
        backward();
      } else {
        backward();
      }
    }
    parallel.finish();
    CHECK(parallel.started() == 0);
    optimizer.step();
  }
  return values(net->parameters());
}

/// The parameters after five steps of the guided loss: five samples on the
/// first of two ranks, with three annotated, and three on the other, with one.
std::vector<Tensor> train_guided(const Group& group) {
  const auto net = network(static_cast<uint64_t>(7 + group.rank()));
  DataParallel parallel(*net, group, DataParallelOptions().bucket_bytes(1000));
  cyborg::CamHook hook(*net);
  const cyborg::CyborgL2Loss criterion(
      cyborg::SaliencyGuidedLossOptions().alpha(0.4));
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  for (uint64_t step = 0; step < 5; ++step) {
    const Batch whole = batch(step);
    const Batch part = group.size() == 1   ? whole
                       : group.rank() == 0 ? whole.part(0, 5)
                                           : whole.part(5, 3);
    const Tensor logits =
        hook.forward([&] { return net->forward(part.images); });
    const auto terms =
        criterion(logits, part.labels, hook, part.maps, part.annotated);
    optimizer.zero_grad();
    whole_batch_total(criterion, terms, part.labels.size(0), group).backward();
    parallel.finish();
    optimizer.step();
  }
  return values(net->parameters());
}

/// The same for terms of both blends, with class weights and a label that is
/// not known, which each rank has another number of.
std::vector<Tensor> train_terms(const Group& group) {
  const auto net = network(static_cast<uint64_t>(7 + group.rank()));
  DataParallel parallel(*net, group, DataParallelOptions().bucket_bytes(1000));
  cyborg::CamHook hook(*net);
  cyborg::Guidance guidance(cyborg::GuidanceOptions().task(
      cyborg::TaskOptions().class_weight(t({1, 2}))));
  guidance.add("people", 0.4, cyborg::L2());
  guidance.add("focus", 0.3, cyborg::CamEntropy(), cyborg::Blend::kAdditive);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  for (uint64_t step = 0; step < 5; ++step) {
    Batch whole = batch(step);
    whole.labels[6] = cyborg::kIgnoredLabel;
    const Batch part = group.size() == 1   ? whole
                       : group.rank() == 0 ? whole.part(0, 5)
                                           : whole.part(5, 3);
    cyborg::Batch given{part.images, part.labels, part.maps};
    given.annotated = part.annotated;
    const auto terms = guidance(
        hook, [&](const Tensor& images) { return net->forward(images); },
        given);
    optimizer.zero_grad();
    whole_batch_total(terms, part.labels.size(0), group).backward();
    parallel.finish();
    optimizer.step();
  }
  return values(net->parameters());
}

bool all_close(
    const std::vector<Tensor>& a, const std::vector<Tensor>& b,
    double tolerance) {
  bool same = a.size() == b.size() && !a.empty();
  for (size_t i = 0; same && i < a.size(); ++i) {
    same = close(a[i], b[i], tolerance);
  }
  return same;
}

/// Output, gradients (also of a gradient), and running values of a batch
/// normalisation of these samples, whose other samples may be elsewhere.
template <class Norm>
std::vector<Tensor> normalized(Norm& norm, const Tensor& samples) {
  norm->to(torch::kDouble);
  {
    const torch::NoGradGuard no_grad;
    norm->weight.copy_(t({1.5, -2}));
    norm->bias.copy_(t({0.25, 1}));
  }
  const Tensor x = samples.detach().clone().requires_grad_();
  const Tensor y = norm(x);
  const Tensor loss = (y.sin() * x.cos()).sum();
  const Tensor first = torch::autograd::grad(
      {loss}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  first.square().sum().backward();
  norm->eval();
  return {y.detach(),          first.detach(),     x.grad(),
          norm->weight.grad(), norm->running_mean, norm->running_var,
          norm(x).detach()};
}

Tensor samples_to_normalize() {
  torch::manual_seed(5);
  return torch::randn({4, 2, 3, 3}, torch::kDouble) * 3 + 20;
}

// ---------------------------------------------------------------- the roles

using Role = std::function<std::vector<Tensor>(const Group&)>;

std::vector<Tensor> exchange(const Group& group) {
  const bool first = group.rank() == 0;
  // Several types, shapes and strides; -0 and NaN keep their bits.
  const std::vector<Tensor> sent{
      t({-0., std::nan(""), 3}),
      torch::tensor({true, false}),
      torch::tensor(7, torch::kLong),
      torch::tensor({1.5F, 2.5F}).to(torch::kHalf),
      torch::arange(6).reshape({2, 3}).t(),
      torch::empty({0})};
  std::vector<Tensor> tensors;
  for (const Tensor& tensor : sent) {
    tensors.push_back(first ? tensor : torch::zeros_like(tensor));
  }
  group.broadcast(tensors);
  for (size_t i = 0; i < sent.size(); ++i) {
    CHECK(torch::allclose(
        tensors[i].to(torch::kDouble), sent[i].to(torch::kDouble), 0, 0,
        /*equal_nan=*/true));
  }
  CHECK(std::signbit(tensors[0][0].item<double>()));

  const Tensor sum = torch::arange(4.).reshape({2, 2}).t() + group.rank();
  group.all_reduce(sum);
  CHECK(close(sum, 2 * torch::arange(4.).reshape({2, 2}).t() + 1, 0));

  const Tensor scores =
      first ? t({1, 2, 3, 4, 5, 6}, {3, 2}) : t({7, 8}, {1, 2});
  CHECK(
      close(group.all_gather(scores), t({1, 2, 3, 4, 5, 6, 7, 8}, {4, 2}), 0));
  const Tensor some = first ? torch::empty({0}, torch::kLong) : labels({4});
  CHECK(close(group.all_gather(some), labels({4}), 0));
  CHECK(group.all_gather(torch::empty({0, 3})).size(0) == 0);
  group.barrier();

  CHECK(
      error_of([&] { group.broadcast({torch::ones({2 + group.rank()})}); }) ==
      "cyborg::train::Group: expected tensors with the same number of bytes on "
      "every rank, got 8 on rank 0 and 12 on rank 1");
  CHECK(
      error_of([&] { group.all_gather(torch::ones({2, 1 + group.rank()})); }) ==
      "cyborg::train::Group: expected rows with the same number of bytes on "
      "every rank, got 4 on rank 0 and 8 on rank 1");
  return {};
}

/// Parameters without a gradient on some ranks, and calls in a wrong order.
std::vector<Tensor> part_of_a_model(const Group& group) {
  const Tensor all = t({1}).requires_grad_();
  const Tensor first_only = t({1}).requires_grad_();
  const Tensor nobody = t({1}).requires_grad_();
  const Tensor frozen = t({1 + 1. * group.rank()});
  DataParallel parallel(
      {all, first_only, nobody, frozen}, {}, group,
      DataParallelOptions().bucket_bytes(1));
  CHECK(parallel.buckets() == 4);
  CHECK(close(frozen, t({1}), 0));
  Tensor loss = all * (group.rank() + 1);
  if (group.rank() == 0) {
    loss = loss + first_only * 8;
  }
  loss.backward();
  // Buckets start from the last: that of `frozen`, which needs no gradient.
  CHECK(parallel.started() == 1);
  parallel.finish();
  CHECK(close(all.grad(), t({1.5}), 0));
  CHECK(close(first_only.grad(), t({4}), 0));
  CHECK_FALSE(nobody.grad().defined());
  CHECK_FALSE(frozen.grad().defined());

  parallel.finish();  // a rank without samples, in the other's step
  CHECK(close(all.grad(), t({1.5}), 0));

  (all + first_only + nobody).backward();
  CHECK(parallel.started() == 4);  // all of them, before finish
  CHECK(
      error_of([&] { all.sum().backward(); }) ==
      "cyborg::train::DataParallel: expected finish() after each backward, got "
      "a "
      "second backward before finish(); call finish() after each, or hold "
      "no_sync() during all but the last");
  parallel.finish();
  CHECK(
      error_of([&] { DataParallel({all}, {}, group); }) ==
      "cyborg::train::DataParallel: expected parameters without a hook, got "
      "one that another DataParallel has");
  return {};
}

/// A bucket has started while backward is still at an earlier layer. `no_sync`
/// pauses that while its result lives, and `DataParallel` ends it.
std::vector<Tensor> overlap(const Group& group) {
  const Tensor early = t({2}).requires_grad_();
  const Tensor late = t({3}).requires_grad_();
  const auto options = DataParallelOptions().bucket_bytes(1);
  {
    DataParallel parallel({early, late}, {}, group, options);
    size_t started = 99;
    const Tensor between = early * 5;
    between.register_hook([&](const Tensor&) { started = parallel.started(); });
    (between * late).backward();
    CHECK(started == 1);
    CHECK(parallel.started() == 2);
    parallel.finish();
    CHECK(parallel.started() == 0);
    CHECK(close(early.grad(), t({15}), 0));
    CHECK(close(late.grad(), t({10}), 0));
    {
      const auto guard = parallel.no_sync();
      (early * late).backward();
      CHECK(parallel.started() == 0);
    }
    (early * late).backward();
    CHECK(parallel.started() == 2);
    parallel.finish();
    CHECK(close(early.grad(), t({21}), 0));
  }
  (early * late).backward();
  CHECK(close(early.grad(), t({24}), 0));
  const DataParallel another({early, late}, {}, group, options);
  CHECK(another.buckets() == 2);
  return {};
}

std::vector<Tensor> buffers(const Group& group) {
  nn::BatchNorm1d norm(2);
  DataParallel parallel(*norm, group);
  norm(torch::full({2, 2}, 1. + group.rank()));
  CHECK(close(
      norm->running_mean, torch::full({2}, .1 + .1 * group.rank()), 1e-7));
  parallel.sync_buffers();
  CHECK(close(norm->running_mean, torch::full({2}, .1), 1e-7));
  return {};
}

std::vector<Tensor> sync_batch_norm(const Group& group) {
  SyncBatchNorm2d norm(nn::BatchNormOptions(2).momentum(0.3), group);
  const Tensor all = samples_to_normalize();
  const Tensor part =
      group.rank() == 0 ? all.narrow(0, 0, 1) : all.narrow(0, 1, 3);
  // LibTorch's own module, by a call in place of its forward.
  nn::BatchNorm2d plain(2);
  SyncBatchNorm2d fresh(nn::BatchNormOptions(2), group);
  CHECK(close(
      cyborg::train::sync_batch_norm(*plain, part, group), fresh(part), 0));
  CHECK(close(plain->running_var, fresh->running_var, 0));
  CHECK(plain->num_batches_tracked.item<int64_t>() == 1);
  return normalized(norm, part);
}

/// The error of rank 0 when rank 1 calls `last` instead of its second exchange.
std::vector<Tensor> lose(
    const Group& group, const std::function<void()>& last) {
  const Tensor one = torch::ones({1000});
  group.all_reduce(one);
  if (group.rank() == 1) {
    last();
    return {};
  }
  const auto begin = std::chrono::steady_clock::now();
  const std::string error = error_of([&] { group.all_reduce(one); });
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begin;
  INFO(error << " (after " << took.count() << " s)");
  CHECK(contains(
      error,
      "cyborg::train::Group: rank 0 of 2: another rank has ended, or has not "
      "answered within 3 s: "));
  CHECK(took.count() < 10);
  return {};
}

/// This file knows c10d, the file without_c10d.cpp does not. The group comes
/// from there.
std::vector<Tensor> two_files(const Group& group) {
  const double rank = group.rank();
  CHECK(close(without_c10d::all_reduce(group, t({1 + rank})), t({3}), 0));
  const Tensor here = t({5 * rank});
  group.all_reduce(here);
  CHECK(close(here, t({5}), 0));

  const Tensor x = t({1 + rank}).requires_grad_();
  (without_c10d::sum_over_ranks(group, x) * (1 + rank)).sum().backward();
  CHECK(close(x.grad(), t({3}), 0));

  // Each of the two files makes an object that the other one uses.
  const Tensor a = t({2}).requires_grad_();
  const Tensor b = t({2}).requires_grad_();
  const auto theirs = without_c10d::data_parallel(group, {a});
  DataParallel ours({b}, {}, group);
  (a * (1 + rank)).sum().backward();
  theirs->finish();
  (b * (1 + rank)).sum().backward();
  without_c10d::finish(ours);
  CHECK(close(a.grad(), t({1.5}), 0));
  CHECK(close(b.grad(), t({1.5}), 0));
  return {};
}

const std::map<std::string, Role>& roles() {
  static const std::map<std::string, Role> all{
      {"exchange", exchange},
      {"small buckets", [](const Group& g) { return train_plain(g, 1000); }},
      {"one bucket", [](const Group& g) { return train_plain(g, 25 << 20); }},
      {"two backwards", [](const Group& g) { return train_plain(g, 1000, 2); }},
      {"guided", train_guided},
      {"terms", train_terms},
      {"part of a model", part_of_a_model},
      {"overlap", overlap},
      {"buffers", buffers},
      {"sync batch norm", sync_batch_norm},
      {"two files", two_files},
      {"killed",
       [](const Group& g) { return lose(g, [] { std::raise(SIGKILL); }); }},
      {"silent",
       [](const Group& g) {
         return lose(
             g, [] { std::this_thread::sleep_for(std::chrono::seconds(6)); });
       }},
      {"leaves", [](const Group& g) {
         return lose(g, [&] {
           g.abort();
           CHECK(
               error_of([&] { g.barrier(); }) ==
               "cyborg::train::Group: rank 1 of 2: expected a group that is "
               "connected, got one after abort()");
           std::this_thread::sleep_for(std::chrono::seconds(2));
         });
       }}};
  return all;
}

}  // namespace

TEST_CASE("rank", "[.]") {
  const char* role = std::getenv("CYBORG_TEST_ROLE");
  if (role == nullptr) {
    support::skip("the other cases run this one");
    return;
  }
  const auto options = GroupOptions().timeout(std::chrono::seconds(3));
  const Group group = role == std::string("two files")
                          ? without_c10d::group_from_environment(options)
                          : Group::from_environment(options);
  const auto found = roles().at(role)(group);
  torch::save(
      found, std::string(std::getenv("CYBORG_TEST_FOLDER")) + '/' +
                 std::to_string(group.rank()));
}

TEST_CASE("Ranks exchange tensors of any type and shape", "[distributed]") {
  CHECK(Ranks("exchange").statuses == kBothSucceed);
}

TEST_CASE(
    "Two ranks with half the batch each train as one with all of it",
    "[distributed]") {
  const auto expected = train_plain(Group(), 1000);
  for (const char* role : {"small buckets", "one bucket", "two backwards"}) {
    INFO(role);
    const Ranks ranks(role);
    REQUIRE(ranks.statuses == kBothSucceed);
    CHECK(all_close(ranks.tensors(0), ranks.tensors(1), 0));
    CHECK(all_close(ranks.tensors(0), expected, 1e-12));
  }
  CHECK_FALSE(all_close(expected, values(network(7)->parameters()), 1e-3));
}

TEST_CASE(
    "The guided loss is that of the whole batch for any spread of annotations",
    "[distributed]") {
  const auto expected = train_guided(Group());
  const Ranks ranks("guided");
  REQUIRE(ranks.statuses == kBothSucceed);
  CHECK(all_close(ranks.tensors(0), ranks.tensors(1), 0));
  CHECK(all_close(ranks.tensors(0), expected, 1e-12));
}

TEST_CASE("Two ranks train with terms as one process does", "[distributed]") {
  const auto expected = train_terms(Group());
  const Ranks ranks("terms");
  REQUIRE(ranks.statuses == kBothSucceed);
  CHECK(all_close(ranks.tensors(0), ranks.tensors(1), 0));
  CHECK(all_close(ranks.tensors(0), expected, 1e-12));
}

TEST_CASE(
    "A parameter need not have a gradient on every rank", "[distributed]") {
  CHECK(Ranks("part of a model").statuses == kBothSucceed);
}

TEST_CASE("Gradients are exchanged during backward", "[distributed]") {
  CHECK(Ranks("overlap").statuses == kBothSucceed);
}

TEST_CASE("sync_buffers copies the buffers of rank 0", "[distributed]") {
  CHECK(Ranks("buffers").statuses == kBothSucceed);
}

TEST_CASE(
    "Batch normalisation sees the samples of all ranks", "[distributed]") {
  nn::BatchNorm2d norm(nn::BatchNorm2dOptions(2).momentum(0.3));
  const auto whole = normalized(norm, samples_to_normalize());
  const Ranks ranks("sync batch norm");
  REQUIRE(ranks.statuses == kBothSucceed);
  const auto a = ranks.tensors(0);
  const auto b = ranks.tensors(1);
  for (const size_t i : {0, 1, 2, 6}) {  // output, gradients, evaluated
    INFO(i);
    CHECK(close(torch::cat({a[i], b[i]}), whole[i], 1e-11));
  }
  CHECK(close(a[3] + b[3], whole[3], 1e-11));  // the weight's gradient
  for (const size_t i : {4, 5}) {              // running mean and variance
    CHECK(close(a[i], whole[i], 1e-12));
    CHECK(close(b[i], whole[i], 1e-12));
  }
}

TEST_CASE("Files with and without c10d work together", "[distributed]") {
  CHECK(Ranks("two files").statuses == kBothSucceed);
}

TEST_CASE(
    "A rank that is killed ends the others with an error", "[distributed]") {
  CHECK(Ranks("killed").statuses == std::vector<int>{0, -SIGKILL});
}

TEST_CASE(
    "A rank that does not answer ends the others with an error",
    "[distributed]") {
  CHECK(Ranks("silent").statuses == kBothSucceed);
}

TEST_CASE(
    "A rank that calls abort() ends the others with an error",
    "[distributed]") {
  CHECK(Ranks("leaves").statuses == kBothSucceed);
}

// The condition of <cyborg/train/nccl.hpp>.
#if !defined(USE_C10D_NCCL) || !__has_include(<nccl.h>)
TEST_CASE("A group without NCCL says so", "[distributed]") {
  World world;
  world.size = 2;
  const auto options =
      GroupOptions().transport(cyborg::train::Transport::kNccl);
  CHECK(
      error_of([&] { Group(world, options); }) ==
      "cyborg::train::Group: expected transport kGloo, got kNccl: this "
      "LibTorch was built without NCCL, or nccl.h was not found");
}
#endif

TEST_CASE(
    "A group waits for a missing rank no longer than the timeout",
    "[distributed]") {
  World world;
  world.size = 2;
  world.port = std::stoi(free_port());
  const std::string error = error_of(
      [&] { Group(world, GroupOptions().timeout(std::chrono::seconds(1))); });
  CHECK(contains(
      error,
      "cyborg::train::Group: rank 0 of 2: could not connect to the other ranks "
      "at "
      "127.0.0.1:" +
          std::to_string(world.port) + " within 1 s: "));
  // And no longer for a first rank that does not listen.
  world.rank = 1;
  CHECK(
      error_of([&] {
        Group(world, GroupOptions().timeout(std::chrono::milliseconds(200)));
      }) ==
      "cyborg::train::Group: rank 1 of 2: could not connect to the other ranks "
      "at 127.0.0.1:" +
          std::to_string(world.port) +
          " within 0.2 s: nobody listens there: the first process has ended, "
          "or has not begun");
  world.address = "no.such.computer.invalid";
  CHECK(contains(
      error_of([&] {
        Group(world, GroupOptions().timeout(std::chrono::milliseconds(200)));
      }),
      "could not connect to the other ranks at no.such.computer.invalid:"));
}

#endif
