// SPDX-License-Identifier: BSD-3-Clause
#if __cplusplus < 202002L
#error "cyborg did not hand on C++20, which LibTorch 2.14 asks for"
#endif

int main() {}
