// SPDX-License-Identifier: Apache-2.0
//
// A change of one letter here changes kPortalStyleHash; the test says to what.
#include "gateway/portal/portal_pages.h"

namespace spicegate {

// Text has a contrast of 7:1 in both schemes, links and the button 4.5:1 at
// least. Nothing moves unless the user likes it to.
const char kPortalStyle[] = R"(
:root {
  color-scheme: light dark;
  --page: #eef1f5;
  --card: #ffffff;
  --line: #c9d1db;
  --text: #1a2330;
  --soft: #454f5d;
  --code: #eef1f5;
  --strong: #0a56a6;
  --on-strong: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f141b;
    --card: #19212b;
    --line: #364252;
    --text: #e8edf3;
    --soft: #b4c0cd;
    --code: #0f141b;
    --strong: #86bdff;
    --on-strong: #0a1624;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0;
  min-height: 100vh;
  padding: 4vh 1rem;
  background: var(--page);
  color: var(--text);
  font: 1.0625rem/1.6 system-ui, sans-serif;
}
main {
  max-width: 40rem;
  margin: 0 auto;
  padding: 2rem;
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 0.75rem;
  overflow-wrap: anywhere;
}
svg { display: block; width: 3rem; height: 3rem; color: var(--strong); }
h1 { margin: 0.75rem 0 0.5rem; font-size: 1.75rem; line-height: 1.25; }
h2 { margin: 2rem 0 0.5rem; font-size: 1.1875rem; line-height: 1.3; }
p, ol, ul, dl { margin: 0.75rem 0; }
ol, ul { padding-left: 1.5rem; }
li { margin: 0.375rem 0; }
dt { margin-top: 0.625rem; font-weight: 600; }
dd { margin: 0.125rem 0 0; }
code {
  padding: 0.1em 0.35em;
  background: var(--code);
  border-radius: 0.25rem;
  font: 0.9375em ui-monospace, monospace;
}
.soft { color: var(--soft); }
.button {
  display: inline-block;
  margin: 0.5rem 0;
  padding: 0.75rem 1.25rem;
  background: var(--strong);
  border: 2px solid var(--strong);
  border-radius: 0.5rem;
  color: var(--on-strong);
  font-weight: 600;
  text-decoration: none;
}
.button:hover { text-decoration: underline; }
.button:focus-visible {
  outline: 3px solid var(--text);
  outline-offset: 3px;
}
@media (prefers-reduced-motion: no-preference) {
  .button { transition: outline-offset 0.1s; }
}
@media (max-width: 30rem) {
  body { padding: 0; background: var(--card); }
  main { padding: 1.25rem; border: 0; border-radius: 0; }
  .button { display: block; text-align: center; }
}
@media print {
  .button { display: none; }
}
)";

}  // namespace spicegate
