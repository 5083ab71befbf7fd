#include "server/postgres/array_rows.h"

namespace crmsync {

std::string array_rows(std::initializer_list<ArrayColumn> columns, int first) {
    std::string rows = "(SELECT ";
    int parameter = first;
    for (const ArrayColumn& column : columns) {
        if (parameter > first) {
            rows += ", ";
        }
        rows.append("unnest($").append(std::to_string(parameter)).append("::");
        rows.append(column.type).append("[]) AS ").append(column.name);
        ++parameter;
    }
    return rows + ") AS u ";
}

}  // namespace crmsync
