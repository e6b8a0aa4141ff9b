#!/usr/bin/env bash
# Makes contracts/schemas and docs/events.md anew: after a change of an event, or of who publishes or reads it. A schema that
# would break those who read the version already is refused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CRM_WRITE_CONTRACTS=1 dotnet test tests/Contracts.Tests -c Release -v q -nologo \
    --filter 'FullyQualifiedName~Events.SchemaRegistryTests|FullyQualifiedName~Events.ConsumerMatrixTests'
git --no-pager status --short -- contracts/schemas docs/events.md
