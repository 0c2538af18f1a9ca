// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace cyborg {

/// How a map is computed. `functional` has a function of each (see
/// <cyborg/cam/methods.hpp> and <cyborg/cam/gradient_methods.hpp>).
enum class CamMethod {
  kAuto,             ///< CAM where it is exact, else Grad-CAM
  kCam,              ///< weights of the head times features
  kGradCam,          ///< spatial mean of the gradient times features
  kHiResCam,         ///< gradient times features, position by position
  kLayerCam,         ///< HiResCAM without negative gradients
  kXGradCam,         ///< Grad-CAM, the mean weighted by the features
  kGradCamPlusPlus,  ///< Grad-CAM of positive gradients, weighted
  kEigenCam,         ///< the main direction of the features; of no class
};

namespace detail {

/// The name of a method, for people; `kAuto` is settled before.
inline const char* name_of(CamMethod method) {
  switch (method) {
    case CamMethod::kAuto:
      return "automatic";
    case CamMethod::kCam:
      return "CAM";
    case CamMethod::kGradCam:
      return "Grad-CAM";
    case CamMethod::kHiResCam:
      return "HiResCAM";
    case CamMethod::kLayerCam:
      return "LayerCAM";
    case CamMethod::kXGradCam:
      return "XGrad-CAM";
    case CamMethod::kGradCamPlusPlus:
      return "Grad-CAM++";
    case CamMethod::kEigenCam:
      return "Eigen-CAM";
  }
  return "";
}

}  // namespace detail
}  // namespace cyborg
