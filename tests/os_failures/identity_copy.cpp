// identity_copy.cpp - a plug-in that brings its own copy of holdfast along.
#include <holdfast/process_identity.hpp>

extern "C" const holdfast::ProcessIdentity* other_self();
extern "C" const holdfast::ProcessIdentity* other_self() { return &holdfast::ProcessIdentity::self(); }
