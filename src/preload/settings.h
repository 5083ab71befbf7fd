// All settings of crmsync. They are defined by crmsync.so, so that a configuration file that names
// them is understood wherever it is loaded, preloaded or not.
#pragma once

#include "preload/compatibility.h"

namespace crmsync {

void define_settings();

bool enabled();

// crmsync.environment, or the machine's id when it is empty; never nullptr.
const char* environment();

// "" when not set.
const char* secret_directory();
const char* allowed_hosts();

int64 max_log_size();      // bytes
int64 max_history_size();  // bytes
int query_timeout();       // milliseconds, 0: none
int long_query_timeout();
int max_create_delay();
int fail_guarded_call();  // 0: none

}  // namespace crmsync
