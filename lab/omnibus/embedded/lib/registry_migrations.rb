# frozen_string_literal: true

require_relative 'metadata_database'

# The schema of the registry's metadata database. Simulated: two series of migrations and the tables in which they are
# recorded, how each release adds some, and that a start, an import and `migrate` compare them. The tables are this
# lab's own: of GitLab's, those and the columns that count images. Not simulated: partitions, garbage collection,
# batched background migrations.
class RegistryMigrations
  Migration = Struct.new(:id, :since, :statements)
  # A series: its name, its table, and the registry that had the first of them.
  Series = Struct.new(:name, :table, :since, :migrations)

  BEFORE = [
    Migration.new('20260101000001_lab_schema', '0.0', <<~SQL),
      CREATE SCHEMA partitions;
      CREATE TABLE top_level_namespaces (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now(), name text NOT NULL UNIQUE);
    SQL
    Migration.new('20260101000002_lab_repositories', '0.0', <<~SQL),
      CREATE TABLE repositories (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        top_level_namespace_id bigint NOT NULL REFERENCES top_level_namespaces ON DELETE CASCADE, created_at timestamptz NOT NULL DEFAULT now(),
        name text NOT NULL, path text NOT NULL UNIQUE, deleted_at timestamptz, last_published_at timestamptz);
    SQL
    Migration.new('20260101000003_lab_blobs', '0.0', <<~SQL),
      CREATE TABLE blobs (digest bytea PRIMARY KEY, size bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
    SQL
    Migration.new('20260101000004_lab_manifests', '0.0', <<~SQL),
      CREATE TABLE manifests (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, top_level_namespace_id bigint NOT NULL,
        repository_id bigint NOT NULL REFERENCES repositories ON DELETE CASCADE, created_at timestamptz NOT NULL DEFAULT now(),
        schema_version smallint NOT NULL, digest bytea NOT NULL, payload bytea NOT NULL, total_size bigint NOT NULL,
        UNIQUE (repository_id, digest));
    SQL
    Migration.new('20260101000005_lab_tags', '0.0', <<~SQL),
      CREATE TABLE tags (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, top_level_namespace_id bigint NOT NULL,
        repository_id bigint NOT NULL REFERENCES repositories ON DELETE CASCADE, manifest_id bigint NOT NULL REFERENCES manifests ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz, name text NOT NULL, UNIQUE (repository_id, name));
    SQL
    Migration.new('20260101000006_lab_import_statistics', '4.21', <<~SQL),
      CREATE TABLE import_statistics (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz NOT NULL, finished_at timestamptz, repositories_count bigint NOT NULL DEFAULT 0,
        tags_count bigint NOT NULL DEFAULT 0, manifests_count bigint NOT NULL DEFAULT 0, blobs_count bigint NOT NULL DEFAULT 0);
    SQL
    Migration.new('20260101000007_lab_of_19_0', '4.40', 'ALTER TABLE blobs ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;')
  ].freeze
  AFTER = [
    Migration.new('20260101000008_lab_post_tags_index', '4.10', 'CREATE INDEX index_tags_on_manifest_id ON tags (manifest_id);')
  ].freeze
  SERIES = [
    Series.new('pre-deployment', 'schema_migrations', '0.0', BEFORE),
    Series.new('post-deployment', 'post_deploy_schema_migrations', '4.10', AFTER)
  ].freeze

  def self.of(version)
    SERIES.select { |series| version >= series.since }.map { |series| [series, series.migrations.select { |one| version >= one.since }] }
  end

  # {id => when it was applied}. Looking makes the table where it is missing.
  def self.applied(database, series)
    database.query("CREATE TABLE IF NOT EXISTS #{series.table} (id text PRIMARY KEY, applied_at timestamptz);\n" \
                   "SELECT id, applied_at FROM #{series.table} ORDER BY id;").to_h
  end

  # Of one series of this version those that are missing, in order.
  def self.pending(database, series, known)
    there = applied(database, series)
    known.reject { |one| there.key?(one.id) }
  end

  # Whether a registry of this version may not use the database: at its start only the first series counts.
  def self.pending?(database, version, post: false)
    of(version).first(post ? SERIES.size : 1).any? { |series, known| pending(database, series, known).any? }
  end

  # Each in a transaction of its own, so that a failed one leaves those before it.
  def self.apply(database, series, migrations)
    migrations.each do |one|
      database.query("BEGIN;\n#{one.statements}\nINSERT INTO #{series.table} VALUES (#{MetadataDatabase.quote(one.id)}, now());\nCOMMIT;")
    end
  end
end
