// holdfast.hpp - everything, in the order in which it builds on each other: the reading list.
#pragma once
// IWYU pragma: begin_exports
#include <holdfast/deadline.hpp>  // the end of a wait
#include <holdfast/error.hpp>     // what keeps holdfast from doing its work

#include <holdfast/process_identity.hpp>  // who exactly; alive, dead or unknown

#include <holdfast/ownership.hpp>  // who holds it, and what its next owner is told

#include <holdfast/file_lock.hpp>      // one owner at a time for a path
#include <holdfast/shared_memory.hpp>  // bytes that processes share

#include <holdfast/data_block_mutex.hpp>  // one owner at a time for what is in them

#include <holdfast/data_block.hpp>  // a ring of slots from one producer to many consumers
// IWYU pragma: end_exports
