-- Who filters by tags would read what waits to get into the index too, up to 4 MB of it; few rows bring tags.
ALTER INDEX customers_tags SET (fastupdate = off);
SELECT gin_clean_pending_list('customers_tags');
