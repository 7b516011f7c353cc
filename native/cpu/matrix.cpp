/* Matrices in panels: filling them, and reading a row back. */
#include <algorithm>
#include <numeric>

#include "transformer.h"

namespace llama2 {

Segments segmentsOf(int n, int groupSize) {
  const int columns = std::gcd(n, groupSize);
  return {n / columns, columns, (columns + 3) / 4};
}

Matrix::Matrix(Parts& memory, int d, int n, int groupSize) : d(d), n(n), groupSize(groupSize) {
  if (groupSize == 0) {
    data = memory.take<float>(size(d, n));
    return;
  }
  segments = segmentsOf(n, groupSize);
  const size_t panels = panelsOf(d);
  q = memory.take<int8_t>(panels * kPanel * segments.bytes());
  s = memory.take<float>(panels * kPanel * segments.count);
  ends = n % groupSize == 0 ? nullptr : memory.take<uint16_t>(panels * segments.count);
}

Panels Matrix::panels(int begin, int end) const {
  return {data + begin / kPanel * panelStride(), panelStride(), end - begin, n};
}

Int8Panels Matrix::int8Panels(int begin, int end) const {
  const size_t first = static_cast<size_t>(begin / kPanel) * segments.count;
  return {q + begin * segments.bytes(), s + first * kPanel, ends == nullptr ? nullptr : ends + first, end - begin,
          segments};
}

// ----------------------------------------------------------------------------
// float32

namespace {

/* One panel of sixteen whole rows: written in order, read from sixteen places. */
void fillPanel(float* panel, const float* rows, int n) {
  for (size_t j = 0; j < static_cast<size_t>(n); j++) {
    for (int r = 0; r < kPanel; r++) panel[j * kPanel + r] = rows[static_cast<size_t>(r) * n + j];
  }
}

/* Some numbers of one row; `to` is the place of the first. */
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

// ----------------------------------------------------------------------------
// int8

void Matrix::fillQuantized(const int8_t* values, const float* scales, size_t count, size_t offset) {
  // groups are whole segments, so no segment is cut
  const size_t columns = segments.columns;
  for (size_t done = 0; done < count; done += columns) {
    const size_t row = (offset + done) / n;
    const size_t segment = (offset + done) % n / columns;
    const size_t at = row / kPanel * segments.count + segment;  // the segment, among those of all panels
    int8_t* to = q + (at * segments.quads * kPanel + row % kPanel) * 4;
    for (size_t k = 0; k < columns; k++) to[k / 4 * kPanel * 4 + k % 4] = values[done + k];
    s[at * kPanel + row % kPanel] = scales[done / groupSize];
    if (ends != nullptr) {
      const size_t end = (segment + 1) * columns;
      const bool ended = end == static_cast<size_t>(n) || end % groupSize == 0 || (row * n + end) % groupSize == 0;
      ends[at] |= static_cast<uint16_t>(ended << row % kPanel);
    }
  }
}

// ----------------------------------------------------------------------------

void Matrix::copyRow(float* xout, int row) const {
  if (groupSize == 0) {
    const float* from = data + row / kPanel * panelStride() + row % kPanel;
    for (int j = 0; j < n; j++) xout[j] = from[static_cast<size_t>(j) * kPanel];
    return;
  }
  for (int segment = 0; segment < segments.count; segment++) {
    const size_t at = static_cast<size_t>(row / kPanel) * segments.count + segment;
    const int8_t* from = q + (at * segments.quads * kPanel + row % kPanel) * 4;
    const float scale = s[at * kPanel + row % kPanel];
    const size_t columns = segments.columns;
    for (size_t k = 0; k < columns; k++) *xout++ = static_cast<float>(from[k / 4 * kPanel * 4 + k % 4]) * scale;
  }
}

}  // namespace llama2
