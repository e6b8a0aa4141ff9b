-- Rows of a workbook are rows of CSV, as the release before knows them too.
ALTER TABLE imports ADD COLUMN workbook boolean NOT NULL DEFAULT false;
