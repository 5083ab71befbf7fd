// How a link behaves: the policies of the design, as configured.
#pragma once

#include <string_view>

#include "record/property.h"

namespace crmsync::sync {

enum class WriteFields { changed, all };
enum class OnCrmDelete { remove, keep };
enum class OnTargetDelete { ignore, recreate, unlink };
enum class OnAudienceLoss { remove, unlink };

struct Policy {
    WriteFields write_fields = WriteFields::changed;
    OnCrmDelete on_crm_delete = OnCrmDelete::remove;
    OnTargetDelete on_target_delete = OnTargetDelete::ignore;
    OnAudienceLoss on_audience_loss = OnAudienceLoss::remove;
};

}  // namespace crmsync::sync
