# frozen_string_literal: true

# Geo's own numbers of container repositories at a secondary, from its tracking database: Rails would take a minute to
# start. Only the node that runs this database with the Linux package can tell.
module Geo
  COMMAND = %w[/opt/gitlab/bin/gitlab-geo-psql -d gitlabhq_geo_production -At -c].freeze
  # The column holds numbers, and words from before GitLab 15.5 (Geo::ContainerRepositoryRegistry#state).
  STATES = { '' => 'pending', '0' => 'pending', '1' => 'started', '2' => 'synced', '3' => 'failed' }.freeze
  VERIFIED = '2'
  LATELY = 3600

  # {'pending', 'started', 'synced', 'failed', 'verified', 'lately' => synced in the last hour}; nil if unknown.
  def self.numbers
    return unless File.exist?(COMMAND.first)

    ok, rows = Omnibus.run([*COMMAND, sql(Time.now - LATELY)], 20)
    ok ? sum(rows.lines.map { |row| row.strip.split('|', 4) }) : nil
  end

  def self.sql(since)
    'SELECT state, verification_state, count(*), ' \
      "count(CASE WHEN last_synced_at > '#{since.utc.strftime('%F %T')}' THEN 1 END) " \
      'FROM container_repository_registry GROUP BY state, verification_state'
  end

  def self.sum(rows)
    found = %w[pending started synced failed verified lately].to_h { |name| [name, 0] }
    rows.each do |state, verification, count, lately|
      state = STATES.fetch(state, state)
      found[state] += Integer(count)
      found['verified'] += Integer(count) if state == 'synced' && verification == VERIFIED
      found['lately'] += Integer(lately) if state == 'synced'
    end
    found
  rescue ArgumentError, TypeError, NoMethodError # for what is not such a row
    nil
  end
end
