# Reads the Vagrantfile as Vagrant would for one provider, with stand-ins in
# place of Vagrant and its plugins, and prints what it set as JSON:
#
#	ruby parse.rb PROVIDER VAGRANTFILE
require "json"

# Remembers each setting by its path, and each call with its arguments.
class Settings
  def initialize(seen, path) = (@seen, @path = seen, path)

  def method_missing(name, *args, **named, &block)
    name = name.to_s
    if name == "provider"
      return unless args == [PROVIDER]
      return block.call(Settings.new(@seen, "provider"), Settings.new(@seen, ""))
    end
    if name.end_with?("=")
      @seen[[@path, name.chomp("=")].reject(&:empty?).join(".").sub(/^config\./, "")] = args.first
    elsif name == "[]="
      @seen["#{@path}[#{args.first}]"] = args.last
    elsif args.empty? && named.empty? && block.nil?
      return Settings.new(@seen, [@path, name].reject(&:empty?).join("."))
    else
      (@seen[name] ||= []) << [*args, named]
      block&.call(Settings.new(@seen, name)) unless %w[after before].include?(name)
    end
    nil
  end

  def respond_to_missing?(*) = true

  def []=(key, value)
    @seen["#{@path}[#{key}]"] = value
  end
end

PROVIDER = ARGV[0].to_sym
SEEN = {}

module Vagrant
  def self.configure(version)
    raise "version #{version}" unless version == "2"
    yield Settings.new(SEEN, "")
  end
end

load File.expand_path(ARGV[1])
puts JSON.generate(SEEN)
