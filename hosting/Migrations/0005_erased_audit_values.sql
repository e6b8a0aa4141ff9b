-- What was erased before erasures were recorded; from 0004 on they are, so nobody need be kept from erasing meanwhile.
SELECT record_audit_erasure(array_agg(id ORDER BY id), 'svc:migration')
FROM (
    SELECT e.id, (row_number() OVER (ORDER BY e.id) - 1) / 10000 AS part
    FROM audit_entry e WHERE NOT EXISTS (SELECT FROM audit_value v WHERE v.entry_id = e.id)) AS erased
GROUP BY part;
