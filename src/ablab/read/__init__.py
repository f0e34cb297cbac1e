"""What results say: for now each variant's mean and spread over seeds, and curves with bands."""
