#!/usr/bin/env bash
# Makes gateway/openapi/v1.json anew from the services that ./crm up runs: after a change of what the API takes or answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dotnet build gateway/Crm.Gateway.csproj -c Release -v q -nologo
export Services__Contacts=http://127.0.0.1:5101 Services__Interactions=http://127.0.0.1:5102 Services__Campaigns=http://127.0.0.1:5103 \
    Services__BillingSync=http://127.0.0.1:5104 Services__Support=http://127.0.0.1:5105
gateway/bin/Release/net10.0/Crm.Gateway --openapi gateway/openapi/v1.json
git --no-pager diff --stat -- gateway/openapi
