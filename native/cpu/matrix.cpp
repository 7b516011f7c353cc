/* Matrices in panels: putting numbers into place, and reading a row back. */
#include <string.h>

#include <algorithm>

#include "transformer.h"

namespace llama2 {

namespace {

/* Sixteen whole rows, one panel: written straight through, read from sixteen places. */
void fillPanel(float* panel, const float* rows, int n) {
  for (int j = 0; j < n; j++) {
    for (int r = 0; r < kPanel; r++) panel[j * kPanel + r] = rows[static_cast<size_t>(r) * n + j];
  }
}

/* Some numbers of one row, `to` being the place of the first. */
void fillRow(float* to, const float* values, size_t count) {
  for (size_t j = 0; j < count; j++) to[j * kPanel] = values[j];
}

}  // namespace

void Matrix::fill(const float* values, size_t count, size_t offset) {
  const size_t columns = n;
  while (count > 0) {
    const size_t row = offset / columns;
    const size_t column = offset % columns;
    float* panel = data + row / kPanel * panelStride();
    size_t taken;
    if (column == 0 && row % kPanel == 0 && count >= panelStride()) {
      taken = panelStride();
      fillPanel(panel, values, n);
    } else {
      taken = std::min(count, columns - column);
      fillRow(panel + column * kPanel + row % kPanel, values, taken);
    }
    values += taken;
    offset += taken;
    count -= taken;
  }
}

void Matrix::copyRow(float* xout, int row) const {
  const float* from = data + row / kPanel * panelStride() + row % kPanel;
  for (int j = 0; j < n; j++) xout[j] = from[static_cast<size_t>(j) * kPanel];
}

}  // namespace llama2
