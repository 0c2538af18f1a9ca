// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

namespace programs::report {

/// The style sheet of a page. Colours are variables, once for light and once
/// for dark; tables and charts that are too wide scroll inside the page.
inline std::string page_style() {
  return R"css(
:root{color-scheme:light dark;--paper:#fff;--panel:#f4f6f8;--ink:#1d2126;
--soft:#565e68;--grid:#d9dde2;--mark:#e4f0fb;--good:#0a7a4b;--bad:#b3261e;
--series-0:#0067b1;--series-1:#c65a00;--series-2:#00805e;--series-3:#b5428a;
--series-4:#2b95cf;--series-5:#8a6d00;--series-6:#6b54c4;--series-7:#6f7378}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--panel:#1d2227;
--ink:#e8ebee;--soft:#a5adb6;--grid:#353c44;--mark:#17324a;--good:#4cc38a;
--bad:#ff8a80;--series-0:#5cb2f2;--series-1:#f5a04f;--series-2:#3fc79a;
--series-3:#ea86c2;--series-4:#9cd6f5;--series-5:#d9bd4c;--series-6:#a996f5;
--series-7:#a4a9af}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:28px;line-height:1.25;margin:0 0 12px}
h2{font-size:20px;margin:44px 0 8px}
p{max-width:72ch;margin:10px 0}
.lead{font-size:18px;color:var(--soft)}
.note{border-left:4px solid var(--grid);background:var(--panel);
padding:7px 14px;margin:6px 0;font-size:15px;border-radius:0 6px 6px 0}
.note.good{border-color:var(--good)}.note.bad{border-color:var(--bad)}
figure{margin:18px 0}
figcaption{color:var(--soft);font-size:14px;margin-top:8px;max-width:80ch}
.scroll{overflow-x:auto}
.scroll svg{display:block}
.narrow{display:none}
table{border-collapse:collapse;font-size:14px;
font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;white-space:nowrap}
thead th{border-bottom:2px solid var(--grid);color:var(--soft);
font-weight:600;vertical-align:bottom}
tbody th,tbody td{border-bottom:1px solid var(--grid)}
th:first-child{text-align:left;padding-left:6px;font-weight:600;
position:sticky;left:0;background:var(--paper)}
tr.marked th,tr.marked td{background:var(--mark)}
.pictures th,.pictures td{border:0;padding:4px;text-align:center;
white-space:normal}
.pictures th:first-child{text-align:left;max-width:120px;font-weight:400}
.pictures td{color:var(--soft)}
.pictures img{display:block;margin:0 auto;max-width:17vw;border-radius:3px}
@media (max-width:760px){main{padding:20px 14px 48px}h1{font-size:23px}
.wide{display:none}.narrow{display:block}
th,td{padding:6px 8px}.pictures th,.pictures td{padding:2px;font-size:12px}
.pictures th:first-child{max-width:84px}}
@media print{body{font-size:12px}figure{break-inside:avoid}}
)css";
}

}  // namespace programs::report
