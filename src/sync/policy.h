// How a link behaves: the policies of the design, as configured.
#pragma once

namespace crmsync::sync {

enum class OnCrmDelete { remove, keep };
enum class OnTargetDelete { ignore, recreate, unlink };
enum class OnAudienceLoss { remove, unlink };

struct Policy {
    OnCrmDelete on_crm_delete = OnCrmDelete::remove;
    OnTargetDelete on_target_delete = OnTargetDelete::ignore;
    OnAudienceLoss on_audience_loss = OnAudienceLoss::remove;
};

}  // namespace crmsync::sync
