-- Lists of one queue, assignee or status in the order of their pages; the indexes of 0001 are in that order with a second filter only.
CREATE INDEX cases_of_queue ON cases (queue, id);
CREATE INDEX cases_of_assignee ON cases (assignee, id);
CREATE INDEX cases_of_status ON cases (status, id);
