"""What every process needs: settings, Kafka clients, lifecycle, health, metrics, logs, the local broker."""
