/*
 * CUDA for g++: runs kernels on the CPU, for tests only.
 *
 *   fiber.h    a CUDA thread
 *   grid.h     blocks, barriers, warps, and the orders in which they run
 *   races.h    with -fsanitize=thread: accesses that no barrier orders
 *   device.h   what kernels call
 *   runtime.h  what the host calls: memory, streams, graphs
 *
 * It finds wrong values, divergent barriers, deadlocks and uninitialised shared memory; with AddressSanitizer also
 * accesses outside an allocation, with -fsanitize=thread also races. It cannot see occupancy, coalescing, or a
 * wrong stride within one allocation.
 */
#ifndef LLAMA2_EMULATOR_H
#define LLAMA2_EMULATOR_H

#include "grid.h"
// after the standard headers, which use some of its names
#include "device.h"
#include "runtime.h"

#endif
