-- What kind of photo an accepted one is, by the newest fit that was told; 1 in outlier for one
-- that looked like nothing seen before.
ALTER TABLE captures ADD COLUMN cluster_id BIGINT;
ALTER TABLE captures ADD COLUMN cluster_distance DOUBLE PRECISION;
ALTER TABLE captures ADD COLUMN outlier BIGINT;
-- All that the list of kinds asks for, so that it never touches a row.
CREATE INDEX captures_by_cluster
    ON captures (dataset_id, cluster_id, outlier, cluster_distance, id, label)
    WHERE cluster_id IS NOT NULL;
