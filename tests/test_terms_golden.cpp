// SPDX-License-Identifier: BSD-3-Clause
// The numbers of golden/terms.py: see golden/README.md.
#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/harmonize.hpp>
#include <cyborg/guide/perturb.hpp>
#include <cyborg/guide/right_reasons.hpp>
#include <cyborg/guide/ternary.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <map>
#include <string>
#include <vector>

using cyborg::Blend;
using cyborg::CamClass;
using cyborg::Guidance;
using cyborg::GuidanceOptions;
using cyborg::Task;
using cyborg::TaskOptions;
using given::golden;
using given::integers;
using given::json;
using given::tensor;
using support::close;
using torch::Tensor;

namespace {

constexpr double kEqual = 1e-11;

const json& terms_file() {
  static const json file = golden("terms.json");
  return file;
}

/// sum over b of (b + 1) value_b, as the file's gradients have it.
Tensor rising(const Tensor& value) {
  return (value * torch::arange(1.0, static_cast<double>(value.size(0)) + 1))
      .sum();
}

/// Checks a term of given maps: values, and the gradient by the maps.
template <class Term>
void check_given(
    const Term& term, given::Pass pass, const json& wanted,
    const char* value = "value", const char* gradient = "gradient") {
  pass.maps = pass.maps.clone().requires_grad_();
  const cyborg::PerSample found = term(pass.seen());
  CHECK(close(found.value, tensor(wanted[value]), kEqual));
  CHECK(close(
      given::gradients(rising(found.value), {pass.maps})[0],
      tensor(wanted[gradient]).reshape(pass.maps.sizes()), kEqual));
}

template <class Distance>
void check_distance(const std::string& name) {
  INFO(name);
  const json& all = terms_file()["distances"];
  const Tensor people = tensor(all["people"]).reshape({3, 3, 4});
  check_given(
      cyborg::SaliencyTerm<Distance>(),
      given::pass_of(
          tensor(all["maps"]).reshape({3, 3, 4}), people, /*wrong=*/people),
      all[name]);
}

TaskOptions task_of(const json& node) {
  return TaskOptions().task(
      node["kind"] == "multi_label" ? Task::kMultiLabel
                                    : Task::kClassification);
}

Tensor labels_of(const json& kind, const json& labels) {
  return kind == "multi_label" ? tensor(labels) : integers(labels);
}

/// Checks a term on a network: the mean of its values, and the gradient by the
/// parameters.
template <class Term>
void check_on_net(
    const Term& term, const json& net_node, cyborg::Batch batch,
    const TaskOptions& task, const json& wanted) {
  const auto net = given::net_of(net_node);
  cyborg::CamHook hook(*net);
  Guidance guidance(GuidanceOptions().task(task).blend(Blend::kAdditive));
  guidance.add("term", 1, term);
  const auto found = guidance(hook, net->function(), batch);
  CHECK(close(found["term"].value, tensor(wanted["value"]).mean(), kEqual));
  const auto slopes = given::gradients(found["term"].value, net->parameters());
  for (size_t i = 0; i < slopes.size(); ++i) {
    INFO("parameter " << i);
    CHECK(close(slopes[i], tensor(wanted["gradient"][i]), kEqual));
  }
}

}  // namespace

TEST_CASE(
    "Distances of given maps equal those written from the formulas",
    "[golden]") {
  check_distance<cyborg::L1>("l1");
  check_distance<cyborg::L2>("l2");
  check_distance<cyborg::KL>("kl");
  check_distance<cyborg::Cosine>("cosine");
  check_distance<cyborg::Pearson>("pearson");
  check_distance<cyborg::Dice>("dice");
  check_distance<cyborg::BceWithLogits>("bce_with_logits");
  check_distance<cyborg::Ssim>("ssim");
  check_distance<cyborg::EnergyInside>("energy_inside");
  check_distance<cyborg::OutsideSquare>("outside_square");
}

TEST_CASE("The entropy equals the one written from the formula", "[golden]") {
  const json& node = terms_file()["entropy"];
  auto pass = given::pass_of(tensor(node["maps"]), {});
  check_given(cyborg::CamEntropy(), pass, node);
  pass.batch.positions = tensor(node["positions"]).to(torch::kBool);
  check_given(
      cyborg::CamEntropy(), pass, node, "value_of_positions",
      "gradient_of_positions");
}

TEST_CASE("Right reasons equal those written from the formulas", "[golden]") {
  const std::map<std::string, cyborg::GradientScore> scores{
      {"log_probabilities", cyborg::GradientScore::kLogProbabilities},
      {"loss", cyborg::GradientScore::kLoss},
      {"logit", cyborg::GradientScore::kLogit}};
  const json& node = terms_file()["right_reasons"];
  for (const json& one : node["cases"]) {
    INFO(one["kind"] << ", " << one["score"] << ", power " << one["power"]);
    const json& net = terms_file()["nets"][one["kind"].get<std::string>()];
    cyborg::Batch batch;
    batch.images = tensor(terms_file()["images"]);
    batch.labels = labels_of(one["kind"], net["labels"]);
    batch.wrong = tensor(node["wrong"]);
    check_on_net(
        cyborg::RightReasons{cyborg::RightReasonsOptions()
                                 .score(scores.at(one["score"]))
                                 .power(one["power"])},
        net["net"], batch, task_of(one), one);
  }
}

TEST_CASE("Harmonize equals the published formula", "[golden]") {
  const json& node = terms_file()["harmonize"];
  cyborg::Batch batch;
  batch.images = tensor(node["images"]);
  batch.labels = integers(node["labels"]);
  batch.maps = tensor(node["people"]);
  check_on_net(cyborg::Harmonize(), node["net"], batch, {}, node);
  const Tensor level = tensor(node["level"]);
  CHECK(close(
      cyborg::detail::next_level(
          level.reshape({1, 1, 6, 5}), cyborg::detail::binomial_filter(level))
          .squeeze(),
      tensor(node["next_level"])));
}

TEST_CASE(
    "Perturbed pictures equal three sign steps in the range", "[golden]") {
  const json& node = terms_file()["perturbed"];
  for (const json& one : node["cases"]) {
    INFO(one["kind"] << ", epsilon " << one["epsilon"]);
    const json& net = terms_file()["nets"][one["kind"].get<std::string>()];
    cyborg::Batch batch;
    batch.images = tensor(terms_file()["images"]);
    batch.labels = labels_of(one["kind"], net["labels"]);
    batch.wrong = tensor(node["wrong"]);
    cyborg::PerturbedReasons term;
    term.options.epsilon(one["epsilon"]).low({0, -.5}).high({1, 1.5});
    check_on_net(term, net["net"], batch, task_of(one), one);
  }
}

TEST_CASE("Ternary forms equal those written from the formulas", "[golden]") {
  const json& node = terms_file()["ternary"];
  const std::map<std::string, cyborg::TernaryForm> forms{
      {"gradia", cyborg::TernaryForm::kGradia},
      {"haics", cyborg::TernaryForm::kHaics},
      {"res_g", cyborg::TernaryForm::kResG}};
  for (const auto& [name, form] : forms) {
    INFO(name);
    check_given(
        cyborg::Ternary{cyborg::TernaryOptions()
                            .form(form)
                            .threshold(node["threshold"])
                            .slack(node["slack"])},
        given::pass_of(
            tensor(node["maps"]), tensor(node["people"]),
            tensor(node["wrong"])),
        node[name]);
  }
}

TEST_CASE("Losses of tasks equal those of PyTorch", "[golden]") {
  const json& node = terms_file()["tasks"];
  const Tensor weight = tensor(node["weight"]), pair = tensor(node["pair"]);
  const Tensor labels = integers(node["labels"]);
  const Tensor shares = tensor(node["shares"]), many = tensor(node["many"]);
  const Tensor binary = integers(node["binary"]);
  const auto check = [&](const std::string& name, const TaskOptions& options,
                         const Tensor& target, bool sums = false) {
    INFO(name);
    const Tensor logits =
        tensor(node[name.rfind("one_logit", 0) == 0 ? "single" : "logits"])
            .requires_grad_();
    const auto loss = cyborg::functional::task_loss(logits, target, options);
    const cyborg::detail::Blended blended(
        cyborg::Balance::kFixed, sums, loss, {});
    CHECK(close(blended.task(), tensor(node[name]["value"]), kEqual));
    CHECK(close(
        given::gradients(blended.task(), {logits})[0],
        tensor(node[name]["gradient"]), kEqual));
  };
  check("known", {}, integers(node["all_known"]));
  check("unknown", {}, labels);
  check("weighted", TaskOptions().class_weight(weight), labels);
  check("smoothing", TaskOptions().label_smoothing(.1), labels);
  const auto both = TaskOptions().class_weight(weight).label_smoothing(.1);
  check("weight_smoothing", both, labels);
  check("of_shares", {}, shares);
  check("shares_weight_smoothing", both, shares);
  check("sum_weight", TaskOptions().class_weight(weight), labels, true);
  check("focal", TaskOptions().focal(2), integers(node["all_known"]));
  check(
      "focal_weight_smoothing", TaskOptions(both).focal(2),
      integers(node["all_known"]));
  check("one_logit", {}, binary);
  check(
      "one_logit_weight_smoothing",
      TaskOptions().class_weight(pair).label_smoothing(.2), binary);
  check("one_logit_share", {}, shares.select(1, 0));
  const auto several = TaskOptions().task(Task::kMultiLabel);
  check("of_many", several, many);
  check("of_many", several, many.to(torch::kLong));
  check("many_weight", TaskOptions(several).class_weight(weight), many);
  check("many_smoothing", TaskOptions(several).label_smoothing(.1), many);
  check("many_focal", TaskOptions(several).focal(1.5), many);
  const auto numbers = TaskOptions().task(Task::kRegression);
  const Tensor wanted = tensor(node["numbers"]);
  using cyborg::RegressionLoss;
  check("numbers_l1", numbers, wanted);
  check(
      "numbers_l2", TaskOptions(numbers).regression(RegressionLoss::kL2),
      wanted);
  check(
      "numbers_smooth",
      TaskOptions(numbers).regression(RegressionLoss::kSmooth), wanted);
}

TEST_CASE("Blends of two terms equal those written by hand", "[golden]") {
  const json& node = terms_file()["blends"];
  cyborg::Batch batch;
  batch.labels = integers(node["labels"]);
  batch.maps = tensor(node["people"]);
  batch.annotated = tensor(node["annotated"]).to(torch::kBool);
  batch.weight = tensor(node["weight"]);
  const auto check = [&](const char* name, const GuidanceOptions& options) {
    INFO(name);
    const Tensor logits = tensor(node["logits"]).requires_grad_();
    const Tensor maps = tensor(node["maps"]).requires_grad_();
    Guidance guidance(options);
    guidance.add("people", node["strengths"][0], cyborg::L2());
    if (options.balance() == cyborg::Balance::kFixed) {
      guidance.add("focus", node["strengths"][1], cyborg::CamEntropy());
    }
    const auto found = guidance(logits, maps, batch);
    CHECK(close(found.total, tensor(node[name]["total"]), kEqual));
    const auto slopes = given::gradients(found.total, {logits, maps});
    CHECK(close(slopes[0], tensor(node[name]["of_logits"]), kEqual));
    CHECK(close(slopes[1], tensor(node[name]["of_maps"]), kEqual));
  };
  const auto sum = cyborg::Reduction::kSum;
  const auto share = GuidanceOptions().balance(cyborg::Balance::kTaskShare);
  check("convex", {});
  check("additive", GuidanceOptions().blend(Blend::kAdditive));
  check("sum", GuidanceOptions().reduction(sum));
  check(
      "additive_sum", GuidanceOptions().blend(Blend::kAdditive).reduction(sum));
  check("share", share);
  check("share_sum", GuidanceOptions(share).reduction(sum));
  check(
      "attached",
      GuidanceOptions().balance(cyborg::Balance::kTaskShareAttached));
}

TEST_CASE("Maps of chosen classes equal those of plain code", "[golden]") {
  const json& node = terms_file()["class_maps"];
  const std::map<std::string, CamClass> classes{
      {"label", CamClass::kLabel},
      {"predicted", CamClass::kPredicted},
      {"difference", CamClass::kDifference},
      {"fixed", CamClass::kFixed}};
  for (const json& one : node["cases"]) {
    INFO(one["which"]);
    cyborg::Batch batch;
    batch.images = tensor(terms_file()["images"]);
    batch.labels = integers(node["labels"]);
    batch.maps = tensor(node["people"]);
    check_on_net(
        cyborg::SaliencyTerm<cyborg::L2>(
            cyborg::SaliencyTermOptions()
                .cam_class(classes.at(one["which"]))
                .fixed_class(1)),
        node["net"], batch, {}, one);
  }
}
